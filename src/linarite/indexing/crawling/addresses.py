"""Addresses of pages: when two are one, what site they are of, what key a page is saved under."""

import hashlib
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx

_LONGEST = 2048
_TRACKING = re.compile(r"(utm_\w+|gclid|fbclid|msclkid|mc_[ce]id)(=|$)", re.IGNORECASE)
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_NO_DOCUMENT = re.compile(
    r"\.(png|jpe?g|gif|svg|webp|avif|ico|bmp|tiff?|css|m?js|map|woff2?|ttf|otf|eot|mp[34]|m4a|ogg|wav"
    r"|webm|avi|mov|mkv|zip|t?gz|bz2|xz|zst|tar|7z|rar|exe|dmg|iso|msi|apk|deb|rpm|jar|whl|rss|atom)"
)
_UNREADABLE = re.compile(r"[^\w.-]+")
_LONGEST_PART, _PARTS = 60, 6


def normalised(url: str, base: str | None = None) -> str | None:
    """The address in the one form it is known by here; None where it is no page's.

    The fragment and what only follows visitors about are left out, host and escapes are unified.

    Args:
        url: as it is written somewhere.
        base: where it is written.
    """
    if len(url) > _LONGEST:
        return None
    try:
        found = httpx.URL(base).join(url.strip()) if base else httpx.URL(url.strip())
        if found.scheme not in _PORTS or found.userinfo or (found.port or 0) > 65535:
            return None
        if not _HOST.fullmatch(found.raw_host.decode("ascii")):
            return None
        query = "&".join(
            part
            for part in found.query.decode("ascii").split("&")
            if part and not _TRACKING.match(part)
        )
        parts = urlsplit(str(found.copy_with(fragment=None, query=query.encode("ascii") or None)))
        one = parts._replace(path=parts.path or "/").geturl()
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError):
        return None
    return one if len(one) <= _LONGEST else None


def site(url: str) -> tuple[str, int | None]:
    """What pages of one site share: the host but for ``www.``, and the port unless it is usual."""
    parts = httpx.URL(url)
    port = None if parts.port == _PORTS.get(parts.scheme) else parts.port
    return parts.host.lower().removeprefix("www.").rstrip("."), port


def origin(url: str) -> str:
    """Scheme, host and port, which have one robots.txt."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}"


def suffix(url: str) -> str:
    """What the path ends with, as ``.pdf``; empty where it ends with nothing such."""
    return PurePosixPath(httpx.URL(url).path).suffix.lower()


def may_be_document(url: str) -> bool:
    """Whether it is worth asking for, by what its path ends with."""
    return not _NO_DOCUMENT.fullmatch(suffix(url))


def key(url: str, extension: str) -> str:
    """What the page is saved under: readable, its own, and fit for blobs and files alike."""
    parts = httpx.URL(url)
    path = [_readable(part) for part in unquote(parts.path).split("/")]
    if path and path[-1].endswith(extension):
        path[-1] = path[-1].removesuffix(extension)
    folders = [_readable(parts.host), *filter(None, path)][: _PARTS + 1]
    own = hashlib.sha256(url.encode()).hexdigest()[:12]
    name = folders.pop() if len(folders) > 1 else "index"
    return "/".join([*folders, f"{name}-{own}{extension}"])


def _readable(part: str) -> str:
    return _UNREADABLE.sub("-", part)[:_LONGEST_PART].strip(".-_").lower()
