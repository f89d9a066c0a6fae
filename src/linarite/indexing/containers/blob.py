"""Documents in a container of Azure Blob Storage."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobProperties, ContainerClient, ContentSettings

from linarite.indexing.containers.container import Item, Page
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.inflating import BadEncoding, inflated
from linarite.outbound import OutboundFailed, OutboundTooSlow

_PAGE = 1000
_EMPTY_PAGES = 100
"""How many may follow one another in a listing; Azure's own may have some."""
_LONGEST_TOLD, _NOTED = 4096, 16_384
"""Characters of a blob's name, version and type, and of its metadata: twice what Azure takes."""
_PASSING = frozenset({408, 425, 429})
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_NO_STORAGE = "answers in no way that a storage does"
_CODE = re.compile(r"[A-Za-z0-9]{1,64}")


class BlobContainer:
    """A container of Azure Blob Storage, as the Container of a run.

    Page's `url`, `title` and `more` are metadata of their blobs; `url` and `title` that somebody
    else set there count likewise. Markers of folders are no documents.

    Args:
        client: from `blob_access`; this closes it.
        prefix: only documents whose names begin so.
        is_single: whether only the one blob of the name `prefix` counts.
        creates: whether the container is made where there is none, as for pages of a crawl.
    """

    def __init__(
        self,
        client: ContainerClient,
        *,
        prefix: str = "",
        is_single: bool = False,
        creates: bool = False,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._is_single = is_single
        self._creates = creates
        parts = urlsplit(client.url)
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path}"  # a signature may follow
        self._name = f"the container {client.container_name!r} of {parts.hostname}"

    @property
    def place(self) -> str:
        return self._url

    def list(self) -> Iterator[Item]:
        with _failures(self._name):
            try:
                for blob in self._listed():
                    if self._counts(blob):
                        yield self._item(blob)
            except HttpResponseError as error:
                if not (self._creates and _code(error) == "ContainerNotFound"):
                    raise

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        _check_length(item.size, limit_bytes)
        with _failures(self._name), _failures_of_one():
            download = self._client.download_blob(
                item.key,
                etag=f'"{item.version}"',
                match_condition=MatchConditions.IfNotModified,
                decompress=False,
            )
            encoding = download.properties.content_settings.content_encoding
            length = 0
            try:
                for piece in inflated(download.chunks(), encoding):
                    length += len(piece)
                    _check_length(length, limit_bytes)
                    into.write(piece)
            except BadEncoding as error:
                raise DocumentFailed(f"{error}.") from None

    def write(self, page: Page) -> None:
        with _failures(self._name):
            try:
                self._upload(page)
            except HttpResponseError as error:
                if not (self._creates and _code(error) == "ContainerNotFound"):
                    raise
                self._client.create_container()
                self._upload(page)

    def delete(self, key: str) -> None:
        with _failures(self._name):
            try:
                self._client.delete_blob(key)
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise

    def close(self) -> None:
        """Close the client's connections, and those that an identity got its tokens by."""
        self._client.close()
        if hasattr(self._client.credential, "close"):
            self._client.credential.close()

    def _listed(self) -> Iterator[BlobProperties]:
        """What the container lists, as long as the listing gets on."""
        pages: Any = self._client.list_blobs(
            self._prefix or None, include=["metadata"], results_per_page=_PAGE
        ).by_page()
        marker, empty = None, 0
        for page in pages:
            blobs = list(page)
            if any(map(_is_beyond, blobs)):
                raise IngestionFailed(f"{_capital(self._name)} {_NO_STORAGE}.")
            yield from blobs
            empty = 0 if blobs else empty + 1
            is_same = marker is not None and pages.continuation_token == marker
            if is_same or empty > _EMPTY_PAGES:
                raise IngestionFailed(f"The listing of {self._name} does not come to an end.")
            marker = pages.continuation_token

    def _counts(self, blob: BlobProperties) -> bool:
        if self._is_single:
            return bool(blob.name == self._prefix)
        is_folder = _lowered(blob.metadata).get("hdi_isfolder") == "true"
        return not is_folder and not (blob.name.endswith("/") and not blob.size)

    def _item(self, blob: BlobProperties) -> Item:
        noted = _lowered(blob.metadata)
        known = {name: unquote(value) for name, value in noted.items()}
        is_page = noted.get("url", "").startswith(
            ("https://", "http://")
        )  # a reader will follow it
        return Item(
            key=blob.name,
            version=blob.etag.strip('"'),
            url=noted["url"] if is_page else f"{self._url}/{quote(blob.name)}",
            size=blob.size,
            title=known.get("title"),
            content_type=blob.content_settings.content_type,
            more={name: value for name, value in known.items() if name not in {"url", "title"}},
        )

    def _upload(self, page: Page) -> None:
        metadata = {name: quote(value, safe=_PLAIN) for name, value in page.more.items()}
        metadata["url"] = page.url
        if page.title:
            metadata["title"] = quote(page.title.strip(), safe=_PLAIN)
        self._client.upload_blob(
            page.key,
            page.body,
            overwrite=True,
            metadata=metadata,
            content_settings=ContentSettings(content_type=page.content_type),
        )


def _is_beyond(blob: BlobProperties) -> bool:
    """Whether it is told more of a blob than a storage keeps, which would fill our rows."""
    told = [blob.name, blob.etag or "", blob.content_settings.content_type or ""]
    noted = [part for pair in (blob.metadata or {}).items() for part in pair]
    return sum(map(len, told)) > _LONGEST_TOLD or sum(len(one or "") for one in noted) > _NOTED


def _lowered(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (metadata or {}).items()}


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        raise DocumentFailed(f"the document is longer than {limit} bytes.")


@contextmanager
def _failures_of_one() -> Iterator[None]:
    """What concerns one document only."""
    try:
        yield
    except HttpResponseError as error:
        if error.status_code in {404, 412} and _code(error) != "ContainerNotFound":
            raise DocumentFailed(
                "the document was changed or removed since the container was listed."
            ) from None
        if _code(error) in {"BlobArchived", "BlobBeingRehydrated"}:
            raise DocumentFailed("the document is in the archive tier; rehydrate it.") from None
        raise


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """Azure's failures and the guard's as a run's; no text of the other side gets through."""
    try:
        yield
    except OutboundTooSlow as error:
        raise TryLater(f"While reading {name}: {error.message}") from error
    except OutboundFailed as error:
        raise IngestionFailed(error.message) from None
    except ClientAuthenticationError as error:
        if error.response is None:  # nothing was asked of the storage yet
            raise IngestionFailed(
                f"{_capital(name)}: this server has no identity there."
            ) from error
        raise _unauthorized(name, error) from None
    except HttpResponseError as error:
        raise _told(name, error) from None
    except (ServiceRequestError, ServiceResponseError) as error:
        raise TryLater(f"{_capital(name)} cannot be reached: {_why(error)}.") from error
    except (AzureError, AttributeError, KeyError, TypeError, ValueError) as error:
        # the client takes for granted that what answers is a storage
        raise IngestionFailed(f"{_capital(name)} {_NO_STORAGE}.") from error


def _told(name: str, error: HttpResponseError) -> IngestionFailed:
    status, code = error.status_code, _code(error)
    if code == "ContainerNotFound":
        return IngestionFailed(f"ContainerNotFound: {name} does not exist.")
    if status in {401, 403}:
        return _unauthorized(name, error)
    if status is not None and status < 400:
        return IngestionFailed(f"{_capital(name)} {_NO_STORAGE}.")
    if status is None or status >= 500 or status in _PASSING:
        answered = f"answers {status}{f' ({code})' if code else ''}" if status else "broke off"
        return TryLater(f"{_capital(name)} {answered}.", _after(error))
    return IngestionFailed(f"{_capital(name)} answers {status}{f' ({code})' if code else ''}.")


def _unauthorized(name: str, error: HttpResponseError) -> IngestionFailed:
    code = _code(error)
    return IngestionFailed(
        f"This request isn't authorized to perform this operation: {name} refuses the credentials "
        f"of the connection{f' ({code})' if code else ''}."
    )


def _code(error: HttpResponseError) -> str:
    code = str(getattr(error, "error_code", None) or "")
    return code if _CODE.fullmatch(code) else ""


def _after(error: HttpResponseError) -> float | None:
    after = str(getattr(error.response, "headers", {}).get("retry-after", ""))
    return float(after) if after.isdecimal() else None


def _why(error: AzureError) -> str:
    """The cause as httpx told it, which never has more of an address than the host."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause)[:200] or type(cause).__name__


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]
