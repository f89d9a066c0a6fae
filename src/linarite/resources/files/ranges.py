"""Conditional and partial downloads: which bytes a request wants, by its headers alone (RFC 9110).

One range is served; a request for several gets the whole, which the standard allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


class Unsatisfiable(ValueError):
    """The range asked for holds no byte of the content."""


def wanted_span(headers: Mapping[str, str], size: int, etag: str, modified: str) -> Span | None:
    """The part of the content that a request wants, or None for the whole.

    Args:
        headers: the request's.
        size: of the content in bytes.
        etag: of the content, quoted.
        modified: its `Last-Modified`.

    Raises:
        Unsatisfiable: there is no such part.
    """
    found = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", etag) not in {etag, modified}:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # no range at all, says the standard
    if start >= end:
        raise Unsatisfiable
    return Span(start, end)


def is_known(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the request says that its sender has this very content (`If-None-Match`)."""
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def attachment(filename: str) -> str:
    """The `Content-Disposition` of a download: any name, by RFC 6266, and a plain one beside it."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    named = f'attachment; filename="{plain}"'
    if plain == filename:
        return named
    return f"{named}; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"
