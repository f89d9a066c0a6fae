"""Absolute addresses of this server, as the caller reaches it."""

import ipaddress
from collections.abc import Sequence

from fastapi import Request


def link(request: Request, path: str) -> str:
    """The absolute URL of `path` under the base that the request came by, for `Location`.

    `server.public_url` decides where it is set; then the request's own scheme and host, with the
    forwarded ones in their place where a trusted proxy sent them.
    """
    base = "/openai/v1" if request.url.path.startswith("/openai/v1/") else "/openai"
    return f"{root(request)}{base}{path}"


def root(request: Request) -> str:
    """This server's address as the caller reaches it, without a path."""
    public_url: str | None = request.app.state.public_url
    return public_url or _base(request)


def _base(request: Request) -> str:
    scheme = request.url.scheme
    host = request.headers.get("host") or request.url.netloc
    if request.client and is_trusted(request.client.host, request.app.state.trusted_proxies):
        scheme = _first(request.headers.get("x-forwarded-proto")) or scheme
        host = _first(request.headers.get("x-forwarded-host")) or host
    return f"{scheme}://{host}"


def is_trusted(
    address: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    """Whether `address` lies in one of `networks`."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has no address
        return False
    return any(parsed in network for network in networks)


def _first(header: str | None) -> str | None:
    return header.split(",")[0].strip() if header else None
