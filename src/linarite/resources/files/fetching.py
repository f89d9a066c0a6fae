"""A download as a stream of pieces, resumed where it broke off.

Knows URLs and the guarded client, but neither files nor rows. No message holds a URL's path or
query, which may be a secret.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from linarite.errors import FileImportFailed, LinariteError
from linarite.outbound import Outbound

_RESUMES = 5
_PASSING = frozenset({408, 425, 429})
_CODE = re.compile(r"[A-Za-z0-9]{1,64}")


class Interrupted(LinariteError):
    """The download broke off and could not be resumed; from the start it may succeed."""


@dataclass(frozen=True)
class Download:
    """One download.

    Args:
        outbound: makes the client.
        url: where to get it; a secret.
        moved: called with the length of each piece; what it raises ends the download.
        wait: sleeps that many seconds; what it raises ends the download.
    """

    outbound: Outbound
    url: str
    moved: Callable[[int], None]
    wait: Callable[[float], None]

    def pieces(self) -> Iterator[bytes]:
        """The content, from its first byte to its last.

        Raises:
            FileImportFailed: trying again is of no use.
            OutboundFailed: likewise; the address, or one it redirects to, is at fault.
            Interrupted: trying again may help.
        """
        got, resumes, tag = 0, 0, ""
        with self.outbound.client() as client:
            while True:
                try:
                    with _answer(client, self.url, got, tag) as answer:
                        tag = tag or _resumable_by(answer)
                        for piece in answer.iter_bytes():
                            got, resumes = got + len(piece), 0
                            self.moved(len(piece))
                            yield piece
                        return
                except httpx.TransportError as error:
                    if not tag or not got or resumes == _RESUMES:
                        raise Interrupted(_told(error, got)) from error
                resumes += 1
                self.wait(min(0.1 * 2**resumes, 5))


@contextmanager
def _answer(client: httpx.Client, url: str, start: int, tag: str) -> Iterator[httpx.Response]:
    """The answer that gives the content from byte `start` on."""
    headers = {"range": f"bytes={start}-", "if-range": tag} if start else {}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            _check(answer, start)
            yield answer
    except httpx.InvalidURL as error:
        raise FileImportFailed(f"The address is not valid: {error}.") from None
    except httpx.TooManyRedirects:
        raise FileImportFailed("The address redirects too often.") from None
    except httpx.DecodingError as error:
        raise FileImportFailed(f"The content cannot be unpacked: {error}.") from None


def _check(answer: httpx.Response, start: int) -> None:
    status = answer.status_code
    if start and status == 206 and _range_start(answer) == start:
        return
    if start and status in {200, 206, 416}:
        raise Interrupted(f"The download broke off after {start} bytes and cannot be resumed.")
    if not start and status == 200:
        return
    code = answer.headers.get("x-ms-error-code", "")
    said = f"{status} {answer.reason_phrase}".strip()
    told = f"The address answered {said}{f' ({code})' if _CODE.fullmatch(code) else ''}."
    raise Interrupted(told) if status >= 500 or status in _PASSING else FileImportFailed(told)


def _range_start(answer: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d{1,19})-", answer.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _resumable_by(answer: httpx.Response) -> str:
    """What `If-Range` must say for the rest of the same content; empty when there is no such."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    etag: str = answer.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return str(answer.headers.get("last-modified", ""))


def _told(error: httpx.TransportError, got: int) -> str:
    why = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        why = "it did not accept the connection in time"
    elif isinstance(error, httpx.ReadTimeout):
        why = "the address stopped answering"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not got:
        return f"The address could not be reached: {why}."
    return f"The download broke off after {got} bytes: {why}."
