import asyncio
import tracemalloc
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from linarite.errors import InvalidPayload, UnsupportedMediaType
from linarite.http.multipart import Form
from linarite.storage.objects import PIECE_BYTES

BOUNDARY = "b" * 20
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Read:
    filename: str
    content_type: str | None
    content: bytes
    fields: dict[str, str]
    longest_piece: int


def part(name: str, content: bytes, *, filename: str | None = None, head: str = "") -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    disposition = f'Content-Disposition: form-data; name="{name}"{named}\r\n{head}\r\n'
    return f"--{BOUNDARY}\r\n{disposition}".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def read(chunks: Sequence[bytes], content_type: str = FORM) -> Read:
    """What a service reads of a form that arrives in these chunks."""

    async def receive() -> dict[str, object]:
        chunk = waiting.popleft() if waiting else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def all_of(pieces: AsyncIterator[bytes]) -> list[bytes]:
        return [piece async for piece in pieces]

    async def serve() -> Read:
        headers = [(b"content-type", content_type.encode("latin-1"))]
        sent = Form(Request({"type": "http", "headers": headers}, receive))
        file = await sent.file("file")
        pieces = await all_of(file.pieces)
        await sent.finish()
        longest = max(map(len, pieces), default=0)
        return Read(file.filename, file.content_type, b"".join(pieces), sent.fields, longest)

    waiting = deque(chunks)
    return asyncio.run(serve())


@given(st.binary(max_size=300), st.lists(st.integers(1, 60), max_size=20))
def test_a_file_is_read_alike_in_whatever_chunks_it_comes(content: bytes, cuts: list[int]):
    body = form(
        part("purpose", b"batch"), part("file", content, filename="a"), part("x", "ü".encode())
    )
    chunks, start = [], 0
    for cut in cuts:
        chunks.append(body[start : start + cut])
        start += cut
    chunks.append(body[start:])

    found = read(chunks)

    assert found.content == content
    assert found.fields == {"purpose": "batch", "x": "ü"}


def test_a_large_file_is_handed_on_in_pieces():
    content = b"0123456789abcdef" * (PIECE_BYTES // 4)
    body = form(part("file", content, filename="big"))
    chunks = [body[at : at + 65536] for at in range(0, len(body), 65536)]

    found = read(chunks)

    assert found.content == content
    assert found.longest_piece < 2 * PIECE_BYTES


def test_a_file_that_comes_in_crumbs_takes_little_memory():
    content = bytes(65536)
    body = form(part("file", content, filename="crumbs"))
    chunks = [bytes([byte]) for byte in body]
    tracemalloc.start()
    try:
        found = read(chunks)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found.content == content
    assert most < 40 * len(content)


def test_names_and_types_are_those_that_were_sent():
    head = "Content-Type: text/plain\r\n"

    found = read([form(part("file", b"", filename="日本 'a' b.jsonl", head=head))])

    assert (found.filename, found.content_type) == ("日本 'a' b.jsonl", "text/plain")
    assert read([form(part("file", b"", filename="a"))]).content_type is None


GOOD = part("file", b"content", filename="a")
MALFORMED = {
    "nothing": b"",
    "no form": b"purpose=batch",
    "another boundary": form(GOOD).replace(BOUNDARY.encode(), b"c" * 20),
    "no parts": form(),
    "no file": form(part("purpose", b"batch")),
    "file without a name": form(part("file", b"content")),
    "file under another name": form(part("data", b"content", filename="a")),
    "two files": form(GOOD, GOOD),
    "breaks off in the head": form(GOOD)[:60],
    "breaks off in the file": form(GOOD)[: len(GOOD) - 4],
    "breaks off before the end": GOOD,
    "no UTF-8 in a field": form(GOOD, part("purpose", b"\xff")),
    "NUL in a field": form(GOOD, part("purpose", b"a\0b")),
    "NUL in a name": form(part("file", b"", filename="a\0b")),
    "long field": form(GOOD, part("purpose", b"x" * 70_000)),
    "many fields": form(GOOD, *(part(f"f{number}", b"") for number in range(101))),
    "long head": form(part("file", b"", filename="a" * 5_000)),
    "many headers": form(part("file", b"", filename="a", head="X: y\r\n" * 20)),
    "no colon in the head": form(part("file", b"", filename="a", head="nonsense\r\n")),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_form_is_refused(body: bytes):
    with pytest.raises(InvalidPayload) as refusal:
        read([body])

    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart"],
)
def test_what_is_no_form_is_not_taken(content_type: str):
    with pytest.raises(UnsupportedMediaType):
        read([form(GOOD)], content_type)


@pytest.mark.parametrize("boundary", ["x" * 300, "\xff", '"', "a b", ";;;"])
def test_an_odd_boundary_is_refused(boundary: str):
    with pytest.raises(InvalidPayload):
        read([form(GOOD)], f"multipart/form-data; boundary={boundary}")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_refused(body: bytes):
    try:
        read([f"--{BOUNDARY}".encode() + body])
    except InvalidPayload:
        return
