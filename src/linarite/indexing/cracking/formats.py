"""Which format a document has: by its name, its content type and how it begins."""

import zipfile
from enum import Enum
from pathlib import Path, PurePosixPath

from linarite.indexing.failures import DocumentFailed

_HEAD_BYTES = 2048


class Format(Enum):
    """The formats that are read, each with its name in a sentence."""

    TEXT = "a text"
    MARKDOWN = "a Markdown text"
    HTML = "an HTML page"
    PDF = "a PDF"
    WORD = "a Word document"
    SLIDES = "a PowerPoint presentation"
    WORKBOOK = "an Excel workbook"
    CSV = "a CSV file"
    JSON = "a JSON file"
    JSON_LINES = "a JSON Lines file"


_EXTENSIONS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".pdf": Format.PDF,
    ".docx": Format.WORD,
    ".pptx": Format.SLIDES,
    ".xlsx": Format.WORKBOOK,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSON_LINES,
    ".ndjson": Format.JSON_LINES,
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_CONTENT_TYPES = {
    "text/plain": Format.TEXT,
    "text/markdown": Format.MARKDOWN,
    "text/html": Format.HTML,
    "application/xhtml+xml": Format.HTML,
    "application/pdf": Format.PDF,
    f"{_OFFICE}wordprocessingml.document": Format.WORD,
    f"{_OFFICE}presentationml.presentation": Format.SLIDES,
    f"{_OFFICE}spreadsheetml.sheet": Format.WORKBOOK,
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.CSV,
    "application/json": Format.JSON,
    "application/jsonl": Format.JSON_LINES,
    "application/x-ndjson": Format.JSON_LINES,
}
_MAIN_PARTS = {
    "word/document.xml": Format.WORD,
    "ppt/presentation.xml": Format.SLIDES,
    "xl/workbook.xml": Format.WORKBOOK,
}
_BINARY = {Format.PDF, *_MAIN_PARTS.values()}


def is_supported(name: str, content_type: str | None) -> bool:
    """Whether documents of that name or content type are read; looks at no file."""
    return bool(_declared(name, content_type))


def format_of(path: Path, name: str, content_type: str | None) -> Format:
    """The format of a file, of `name` and `content_type` where it came from.

    A file that begins as a PDF or is an Office file is what it is, whatever it is called.

    Raises:
        DocumentFailed: it has none of the formats, or not the one that it is said to have.
    """
    declared = _declared(name, content_type)
    if not declared:
        raise DocumentFailed(_unsupported(name, content_type))
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = _found(path, head)
    if found is not None:
        return found
    texts = [each for each in declared if each not in _BINARY]
    if not texts:
        raise DocumentFailed(_not_what_it_says(path, head, declared[0]))
    if Format.HTML in texts and _begins_as_html(head):
        return Format.HTML
    return texts[0]


def _declared(name: str, content_type: str | None) -> list[Format]:
    """What the extension says, then what the content type says."""
    said = (
        _EXTENSIONS.get(PurePosixPath(name).suffix.lower()),
        _CONTENT_TYPES.get(_media_type(content_type)),
    )
    return [each for each in said if each is not None]


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _unsupported(name: str, content_type: str | None) -> str:
    kind = PurePosixPath(name).suffix or _media_type(content_type) or "unknown"
    known = ", ".join(_EXTENSIONS)
    return f"Documents of the type {kind} are not read; these are: {known}."


def _found(path: Path, head: bytes) -> Format | None:
    if head[:1024].lstrip(b"\xef\xbb\xbf\0\t\n\f\r ").startswith(b"%PDF-"):
        return Format.PDF
    if not head.startswith(b"PK\x03\x04"):
        return None
    try:
        with zipfile.ZipFile(path) as package:
            names = set(package.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return None
    return next((kind for part, kind in _MAIN_PARTS.items() if part in names), None)


def _begins_as_html(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<?xml"))


def _not_what_it_says(path: Path, head: bytes, declared: Format) -> str:
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        # Office encrypts into the container of its old formats.
        if "EncryptedPackage".encode("utf-16-le") in path.read_bytes():
            return f"The file is encrypted; {declared.value} is read without a password only."
        return f"The file is of an old Office format, not {declared.value}."
    if head.startswith(b"PK\x03\x04"):
        return f"The file is damaged or is not {declared.value}."
    return f"The file is not {declared.value}."
