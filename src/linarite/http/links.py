"""Absolute addresses of this server, as the caller reaches it."""

import ipaddress
import re
from collections.abc import Sequence

from fastapi import Request

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def link(request: Request, path: str) -> str:
    """The absolute URL of `path` under the base that the request came by, for `Location`.

    Args:
        request: the request that is answered.
        path: what follows the base, such as ``/files/file-1``.
    """
    base = "/openai/v1" if request.url.path.startswith("/openai/v1/") else "/openai"
    return f"{root(request)}{base}{path}"


def root(request: Request) -> str:
    """This server's address as the caller reaches it, without a path.

    `server.public_url` where it is set; else the request's own scheme and Host, with the forwarded
    ones in their place where a trusted proxy sent them.
    """
    public_url: str | None = request.app.state.public_url
    return public_url or _address_used(request)


def _address_used(request: Request) -> str:
    scheme, host = request.url.scheme, request.headers.get("host", "")
    if request.client and is_trusted(request.client.host, request.app.state.trusted_proxies):
        forwarded_scheme = _first(request.headers.get("x-forwarded-proto", "")).lower()
        scheme = forwarded_scheme if forwarded_scheme in {"http", "https"} else scheme
        host = _first(request.headers.get("x-forwarded-host", "")) or host
    if not _HOST.fullmatch(host):  # missing, or no host that a link could be made of
        host = _own_host(request)
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


def _own_host(request: Request) -> str:
    host, port = request.scope.get("server") or ("localhost", None)
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _first(header: str) -> str:
    return header.split(",")[0].strip()
