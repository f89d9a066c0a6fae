"""Multipart bodies, read as they arrive: text fields are kept, the one file is streamed through.

A push parser feeds pieces of about a megabyte to whoever stores them; the file never lies in
memory or in a temporary file. Fields may stand before or after the file. The parser itself bounds
what the head of a part may hold: 8 headers of 4 kB.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from linarite.errors import InvalidPayload, UnsupportedMediaType
from linarite.storage.objects import PIECE_BYTES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FIELD_BYTES = 64 << 10
_FIELDS = 100
_SMALL_BYTES = 512


@dataclass(frozen=True)
class FilePart:
    """The file of a form, its bytes still to come."""

    filename: str
    content_type: str | None
    pieces: AsyncIterator[bytes]


class Form:
    """One multipart/form-data request.

    First `file`, then its `pieces` to the end, then `finish`; `fields` holds what has been read.

    Raises:
        UnsupportedMediaType: the request is no multipart/form-data.
    """

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise UnsupportedMediaType(
                "This operation takes multipart/form-data with a boundary.", target="Content-Type"
            )
        self.fields: dict[str, str] = {}
        self._stream = request.stream()
        self._parser = _parser(options[b"boundary"], self._callbacks())
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._name = ""
        self._text = bytearray()
        self._wanted: str | None = None
        self._in_file = self._file_done = self._ended = False
        self._filename, self._content_type = "", ""
        self._file_seen = False
        self._views: list[memoryview | bytearray] = []
        self._view_bytes = 0

    async def file(self, name: str) -> FilePart:
        """Read up to the file part `name`.

        Raises:
            InvalidPayload: the form ends without it or is malformed.
        """
        self._wanted = name
        while not self._file_seen:
            if not await self._feed():
                raise InvalidPayload(f"`{name}` is required: a form part with a file name.")
        return FilePart(self._filename, self._content_type or None, self._pieces())

    async def finish(self) -> None:
        """Read what follows the file; raises InvalidPayload when the body breaks off."""
        while await self._feed():
            self._views.clear()
        if not self._ended:
            raise InvalidPayload("The form breaks off before its closing boundary.")

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self._file_done:
            if self._view_bytes >= PIECE_BYTES:
                yield self._take_piece()
            if not self._file_done and not await self._feed():
                raise InvalidPayload("The form breaks off inside its file.")
        if self._view_bytes:
            yield self._take_piece()

    def _take_piece(self) -> bytes:
        piece = b"".join(self._views)  # the one copy of each byte
        self._views, self._view_bytes = [], 0
        return piece

    async def _feed(self) -> bool:
        """Parse what the network brings next; False at the end of the body."""
        async for chunk in self._stream:
            if chunk:
                try:
                    self._parser.write(chunk)
                except FormParserError as error:
                    raise InvalidPayload(f"The form is malformed: {error}.") from None
                return True
        return False

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._headers = {}
        self._text = bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = _text(options.get(b"name", b""), "a part's name")
        self._in_file = b"filename" in options and self._name == self._wanted
        if not self._in_file:
            return
        if self._file_seen:
            raise InvalidPayload(f"`{self._name}` is given twice; one file is taken.")
        self._file_seen = True
        self._filename = _text(options[b"filename"], "the file name")
        self._content_type = _text(self._headers.get(b"content-type", b""), "the content type")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._add_view(memoryview(data)[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES:
            raise InvalidPayload(f"The form field {self._name!r} is too long.")

    def _add_view(self, view: memoryview) -> None:
        self._view_bytes += len(view)
        if len(view) >= _SMALL_BYTES:
            self._views.append(view)
        elif self._views and isinstance(self._views[-1], bytearray):
            self._views[-1] += view  # a view is far larger than a crumb
        else:
            self._views.append(bytearray(view))

    def _end_part(self) -> None:
        if self._in_file:
            self._in_file, self._file_done = False, True
            return
        if len(self.fields) >= _FIELDS:
            raise InvalidPayload(f"A form has at most {_FIELDS} fields.")
        self.fields[self._name] = _text(bytes(self._text), f"`{self._name}`")

    def _end(self) -> None:
        self._ended = True


def _parser(boundary: bytes, callbacks: "MultipartCallbacks") -> MultipartParser:
    try:
        return MultipartParser(boundary, callbacks)
    except FormParserError as error:  # the boundary is too long
        raise InvalidPayload(f"The form is malformed: {error}.", target="Content-Type") from None


def _text(value: bytes, what: str) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload(f"In the form, {what} is not UTF-8.") from None
    if "\0" in text:
        raise InvalidPayload(f"In the form, {what} holds a NUL character.")
    return text
