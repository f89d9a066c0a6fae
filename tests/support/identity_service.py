"""What gives a machine in Azure its identity, on loopback, in both of its forms.

Its tokens are as the emulator of the storage takes them: of Azure's form, signed by nobody.
"""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.support.web_site import WebSite, content, web_site

HEADER = "the-secret-of-the-identity-endpoint"
_IMDS = "/metadata/identity/oauth2/token"
_ISSUER = "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/"


class IdentityService:
    """A running endpoint of each form."""

    def __init__(self, site: WebSite) -> None:
        self._site = site
        self.app_service = {"IDENTITY_ENDPOINT": site.url("/token"), "IDENTITY_HEADER": HEADER}
        """The environment of a process that has an identity as an App Service has."""
        self.imds = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": site.url("")}
        """That of one which has it as a virtual machine has, but for the address."""
        site.pages["/token"] = lambda asked: _answer(asked, asked.headers["x-identity-header"])
        site.pages[_IMDS] = lambda asked: _answer(asked, asked.headers["metadata"] and HEADER)

    @property
    def asked_for(self) -> list[str]:
        """What tokens were asked for."""
        return [parse_qs(urlsplit(path).query)["resource"][0] for path, _ in self._site.seen]


@contextmanager
def identity_service() -> Iterator[IdentityService]:
    """Run both endpoints until the block ends."""
    with web_site() as site:
        yield IdentityService(site)


def _answer(asked: BaseHTTPRequestHandler, shown: str | None) -> None:
    if shown != HEADER:
        content(b"{}", 401, Content_Type="application/json")(asked)
        return
    [resource] = parse_qs(urlsplit(asked.path).query)["resource"]
    now = int(time.time())
    times = {"iat": now - 60, "nbf": now - 60, "exp": now + 3600}
    parts = [{"alg": "RS256", "typ": "JWT"}, {"aud": resource, "iss": _ISSUER, **times}]
    texts = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    told = {
        "access_token": ".".join([*texts, "c2lnbmVk"]),
        "expires_on": str(now + 3600),
        "expires_in": "3600",
        "resource": resource,
        "token_type": "Bearer",
    }
    content(json.dumps(told).encode(), Content_Type="application/json")(asked)
