"""A web site that wants to harm whoever crawls it: one page for each way, all linked from `/`."""

import gzip
import time
from http.server import BaseHTTPRequestHandler

from tests.support.web_site import WebSite, content, redirect

HTML = "text/html; charset=utf-8"


def html(body: str, **headers: str):
    """A page of HTML."""
    return content(body.encode(), Content_Type=HTML, **headers)


def links(*to: str, title: str = "Links") -> str:
    """A page that leads to `to`."""
    anchors = "".join(f'<a href="{url}">x</a>' for url in to)
    return f"<html><head><title>{title}</title></head><body>{title} {anchors}</body></html>"


def be_hostile(site: WebSite, inner: str) -> dict[str, str]:
    """Make `site` hostile.

    Args:
        site: whose pages are made.
        inner: an address of the network inside, that must never be asked.

    Returns:
        What must be told of each page, as a part of the reason.
    """
    pages = {
        "/endless": (_endless, "longer than"),
        "/bomb": (_bomb, "longer than"),
        "/nested-bomb": (_encoded("gzip, gzip"), "content encoding"),
        "/brotli": (_encoded("br"), "content encoding"),
        "/lies": (_encoded("gzip"), "not gzip"),
        "/loop": (redirect("/loop"), "redirects more than"),
        "/drip": (_drip, "too slowly"),
        "/drip-head": (_drip_head, "too slowly"),
        "/silent": (_silent, "time"),
        "/long-head": (_long_head, "failed"),
        "/says-long": (_says_long, "longer than"),
        "/short": (_short, "failed"),
        "/inside": (redirect(inner), "another site"),
        "/metadata": (redirect("http://169.254.169.254/latest/meta-data/"), "another site"),
        "/file": (redirect("file:///etc/passwd"), "no address of the web"),
        "/password": (redirect("http://u:p@127.0.0.1/"), "no address of the web"),
        "/nothing": (content(b"", 302), "redirects"),
        "/picture": (content(b"GIF", Content_Type="image/gif"), "no kind of document"),
        "/gone": (content(b"", 410), "answered 410"),
        "/failing": (content(b"", 500), "answered 500"),
        "/partial": (content(b"x", 206, Content_Type=HTML), "answered 206"),
        "/liar": (content(b"", 304), "answered 304"),
    }
    for path, (page, _) in pages.items():
        site.pages[path] = page
    site.pages["/deep"] = html("<title>Deep</title>" + "<div><b>" * 100_000)
    site.pages["/odd-head"] = _odd_head
    site.pages["/many"] = html("".join(f'<a href="/m{n}.png?{n}">x</a>' for n in range(40_000)))
    odd = ["javascript:alert(1)", "mailto:a@b", "//", "http://", "http://[", inner]
    site.pages["/"] = html(links(*pages, "/deep", "/many", "/odd-head", *odd, title="Home"))
    return {path: why for path, (_, why) in pages.items()}


def _endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", HTML)
    request.end_headers()
    while True:
        request.wfile.write(b"<a href=/x>x</a>" * 4096)


def _odd_head(request: BaseHTTPRequestHandler) -> None:
    """What of it went into another request's head, or a blob's, would break that."""
    request.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\xff\xfe; x=\xc3\xbc\r\n"
        b'ETag: "\xc3\xbc\xff"\r\nLast-Modified: \xe2\x80\xa8\r\nX-Robots-Tag: \xff\r\n'
        b"Content-Length: 8\r\n\r\n<p>odd\xff\xfe"
    )


def _says_long(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", HTML)
    request.send_header("Content-Length", "9" * 15)
    request.end_headers()


def _bomb(request: BaseHTTPRequestHandler) -> None:
    packed = gzip.compress(bytes(1 << 20), 9) * 200
    content(packed, Content_Type=HTML, Content_Encoding="gzip")(request)


def _encoded(encoding: str):
    return content(b"not what it says", Content_Type=HTML, Content_Encoding=encoding)


def _drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", HTML)
    request.end_headers()
    for _ in range(600):
        request.wfile.write(b"x")
        time.sleep(0.02)


def _drip_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(600):
        request.wfile.write(b"X")
        time.sleep(0.02)


def _silent(_request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def _long_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20))
    raise ConnectionError


def _short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", HTML)
    request.send_header("Content-Length", "4000")
    request.end_headers()
    request.wfile.write(b"too short")
    raise ConnectionError
