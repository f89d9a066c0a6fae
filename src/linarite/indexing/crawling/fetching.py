"""One page at a time from a server that may be hostile: within bytes, seconds and redirects."""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import httpx

from linarite import __version__
from linarite.indexing.crawling.addresses import normalised, suffix
from linarite.indexing.inflating import BadEncoding, inflated
from linarite.outbound import GuardedTransport, OutboundFailed, OutboundTooSlow
from linarite.settings import OutboundSettings

USER_AGENT = f"linarite/{__version__}"
ROBOT = "linarite"
"""What robots.txt calls this crawler."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429})
_OFFICE = "application/vnd.openxmlformats-officedocument."
_EXTENSIONS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/pdf": ".pdf",
    f"{_OFFICE}wordprocessingml.document": ".docx",
    f"{_OFFICE}presentationml.presentation": ".pptx",
    f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
}
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)
_VAGUE = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
"""Types by which servers send files whose names tell more."""


class NotFetched(Exception):
    """A page was not had; the message says why.

    Args:
        is_final: whether trying again is of no use.
        is_gone: whether there is surely no document to be had at that address.
    """

    def __init__(self, why: str, *, is_final: bool, is_gone: bool = False) -> None:
        super().__init__(why)
        self.is_final = is_final
        self.is_gone = is_gone


@dataclass(frozen=True, slots=True)
class Limits:
    """What one download may take."""

    seconds: float
    bytes: int
    redirects: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came.

    Args:
        url: where it is, redirects followed.
        body: unpacked; empty where it is `is_unchanged`.
        kind: its media type, without parameters; empty where the server tells none.
        charset: what the server says it is written in.
        extension: by what kind of document it is.
        headers: its others.
        is_unchanged: whether it is what the conditions of the request named.
    """

    url: str
    body: bytes
    kind: str
    charset: str | None
    extension: str
    headers: Mapping[str, str]
    is_unchanged: bool = False


class Fetcher:
    """Fetches, for several threads at once where that is wanted.

    Args:
        settings: the ``[outbound]`` section.
        is_stopped: asked between pieces; a download ends when it says so.
        transport: by default a guarded one of its own; closed with this.
    """

    def __init__(
        self,
        settings: OutboundSettings,
        is_stopped: Callable[[], bool],
        transport: GuardedTransport | None = None,
    ) -> None:
        self._settings = settings
        self._is_stopped = is_stopped
        self._transport = transport or GuardedTransport(settings)

    def fetch(
        self,
        url: str,
        limits: Limits,
        *,
        check: Callable[[str], None] = lambda _url: None,
        conditions: Callable[[str], Mapping[str, str]] = lambda _url: {},
        as_document: bool = True,
    ) -> Fetched:
        """Fetch a page.

        Args:
            url: normalised.
            limits: what it may take, redirects and all.
            check: called with each address before it is asked; raises NotFetched. What it waits
                for the first is not counted.
            conditions: headers that ask only for what is new.
            as_document: whether it must be of a kind that is ingested, and whole; else anything
                is taken, cut off where it is too long.

        Raises:
            NotFetched: it is not to be had, or not within the limits.
        """
        try:
            check(url)
            until = time.monotonic() + limits.seconds
            for _ in range(limits.redirects + 1):
                self._transport.begin(max(until - time.monotonic(), 0.001))
                with closing(self._ask(url, until, conditions(url))) as answer:
                    if answer.status_code not in _REDIRECTS:
                        has_conditions = bool(conditions(url))
                        return self._taken(
                            url,
                            answer,
                            limits,
                            has_conditions=has_conditions,
                            as_document=as_document,
                        )
                    url = _target(url, answer)
                check(url)
        except OutboundTooSlow:
            why = f"it took longer than {limits.seconds:g} seconds or came too slowly"
            raise NotFetched(why, is_final=False) from None
        except OutboundFailed as error:
            raise NotFetched(error.message, is_final=True) from None
        except httpx.TimeoutException:
            raise NotFetched("the server did not answer in time", is_final=False) from None
        except httpx.TransportError as error:
            why = str(error)[:200] or type(error).__name__
            raise NotFetched(f"the connection failed: {why}", is_final=False) from None
        except (httpx.InvalidURL, ValueError):
            raise NotFetched("its address or its answer cannot be read", is_final=True) from None
        raise NotFetched(f"it redirects more than {limits.redirects} times", is_final=True)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _ask(self, url: str, until: float, conditions: Mapping[str, str]) -> httpx.Response:
        left = max(until - time.monotonic(), 0.001)
        read = min(self._settings.read_seconds, left)
        connect = min(self._settings.connect_seconds, left)
        headers = {
            "user-agent": USER_AGENT,
            "accept": "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,*/*;q=0.5",
            "accept-encoding": "gzip, deflate",
            **conditions,
        }
        timeouts = {"connect": connect, "read": read, "write": read, "pool": connect}
        request = httpx.Request("GET", url, headers=headers, extensions={"timeout": timeouts})
        return self._transport.handle_request(request)

    def _taken(
        self,
        url: str,
        answer: httpx.Response,
        limits: Limits,
        *,
        has_conditions: bool,
        as_document: bool,
    ) -> Fetched:
        status, headers = answer.status_code, answer.headers
        if status == 304 and has_conditions:
            return Fetched(url, b"", "", None, "", headers, is_unchanged=True)
        if status != 200:
            is_passing = status in _PASSING or not 400 <= status < 500
            raise NotFetched(
                f"the server answered {status}", is_final=not is_passing, is_gone=status in _GONE
            )
        kind, charset = _type(headers.get("content-type", ""))
        extension = _extension(url, kind) if as_document else ""
        body = self._body(answer, limits, as_document=as_document)
        return Fetched(url, body, kind, charset, extension, headers)

    def _body(self, answer: httpx.Response, limits: Limits, *, as_document: bool) -> bytes:
        length = answer.headers.get("content-length", "")
        if as_document and length.isdecimal() and int(length[:19]) > limits.bytes:
            raise _too_long(limits)
        body = bytearray()
        try:
            for piece in inflated(answer.iter_raw(), answer.headers.get("content-encoding")):
                body += piece
                if len(body) > limits.bytes:
                    if as_document:
                        raise _too_long(limits)
                    break
                if self._is_stopped():
                    raise NotFetched("the crawl was stopped", is_final=False)
        except BadEncoding as error:
            raise NotFetched(str(error), is_final=False) from None
        return bytes(body[: limits.bytes])


def _too_long(limits: Limits) -> NotFetched:
    return NotFetched(f"it is longer than {limits.bytes} bytes", is_final=True)


def _target(url: str, answer: httpx.Response) -> str:
    target = normalised(answer.headers.get("location", ""), url)
    if target is None:
        raise NotFetched("it redirects to no address of the web", is_final=True)
    return target


def _type(content_type: str) -> tuple[str, str | None]:
    """Media type and charset; the latter only where it may be one."""
    kind, _, parameters = content_type.partition(";")
    found = _CHARSET.search(parameters)
    return kind.strip().lower(), found[1] if found else None


def _extension(url: str, kind: str) -> str:
    """By which the document is cracked later."""
    named = suffix(url)
    if kind in _VAGUE and named in _EXTENSIONS.values():
        return named
    if kind not in _EXTENSIONS:
        told = repr(kind[:80]) if kind else "of no type that it tells"
        raise NotFetched(
            f"it is {told}, which is no kind of document here", is_final=True, is_gone=True
        )
    return _EXTENSIONS[kind]
