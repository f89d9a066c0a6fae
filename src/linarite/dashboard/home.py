"""The page at ``/``: what runs here and where to go on. Shows nothing that wants a key."""

from importlib import resources

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader

from linarite import __version__
from linarite.http.links import root

router = APIRouter()

_PAGES = Environment(loader=PackageLoader("linarite.dashboard"), autoescape=True)
_STYLE = (resources.files("linarite.dashboard") / "static" / "linarite.css").read_bytes()
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


@router.get("/", name="home")
async def home(request: Request) -> Response:
    """The page."""
    page = _PAGES.get_template("home.html").render(version=__version__, endpoint=root(request))
    return Response(page, media_type="text/html", headers=_HEADERS)


@router.get("/static/linarite.css", name="style")
async def style() -> Response:
    """The page's style."""
    return Response(_STYLE, media_type="text/css", headers={"cache-control": "max-age=3600"})
