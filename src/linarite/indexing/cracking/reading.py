"""The text of one file: what a cracker's child does, and the only module that loads the libraries.

Files are hostile, and the libraries are young Rust or old C. Nothing here holds a file that
crashes, hangs or swells: the child around it does.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import trafilatura
import xberg

from linarite.indexing.cracking.charsets import decoded
from linarite.indexing.cracking.cracked import Cracked
from linarite.indexing.cracking.formats import Format, format_of
from linarite.indexing.cracking.json_text import json_lines, json_paths, json_value
from linarite.indexing.cracking.records import csv_lines, record_lines, with_headers_repeated
from linarite.indexing.failures import DocumentFailed

_TITLE_CHARACTERS = 200
_SMALL_PAGE_CHARACTERS = 2000
_PDF_END_BYTES = 65536
_OFFICE = "application/vnd.openxmlformats-officedocument."
_MIME_TYPES = {
    Format.HTML: "text/html",
    Format.PDF: "application/pdf",
    Format.WORD: f"{_OFFICE}wordprocessingml.document",
    Format.SLIDES: f"{_OFFICE}presentationml.presentation",
    Format.WORKBOOK: f"{_OFFICE}spreadsheetml.sheet",
}
_TABULAR = {Format.WORKBOOK, Format.CSV, Format.JSON, Format.JSON_LINES}
_CONFIG = xberg.ExtractionConfig(
    output_format="markdown",
    use_cache=False,  # it would be a folder in the home directory
    disable_ocr=True,
    escape_markdown=False,
    pages=xberg.PageConfig(extract_pages=True),
    html_options=xberg.ConversionOptions(extract_metadata=False),
    # What a large honest file has; the child's memory is the limit that counts.
    security_limits=xberg.SecurityLimits(max_compression_ratio=1000, max_table_cells=1_000_000),
)
_BEYOND = re.compile(
    r"Security (?:limit exceeded|violation): (?!Failed|Archive entry)(.*?)(?:\.|, but .*)?$"
)
_FRONT_MATTER = re.compile(r"\A---\n.*?^title:[ \t]*(.+?)[ \t]*$.*?^---$", re.DOTALL | re.MULTILINE)
_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]{0,2000})", re.IGNORECASE)
_TITLE_LINE = re.compile(r"^title:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_HEADING = re.compile(r"^#{1,2}[ \t]+(\S.*?)[ \t#]*$", re.MULTILINE)
_FILE_NAME = re.compile(r"(microsoft \w+ - .*|untitled.*|.*\.(docx?|pptx?|xlsx?|pdf|indd|tex|dvi))")

_Parts = tuple[str | None, Iterable[str]]
"""A title, where the file's own data tell one, and the pieces of the text."""


def read(path: Path, name: str, content_type: str | None, most_characters: int) -> Cracked:
    """The text and the title of a file.

    Raises:
        DocumentFailed: as `Cracker.crack` says, but for what the child's limits hold.
        MemoryError: it takes too much memory.
    """
    kind = format_of(path, name, content_type)
    if kind in _MIME_TYPES:
        title, parts = _by_library(path, kind, content_type)
    elif path.stat().st_size > 4 * most_characters:
        raise DocumentFailed(_too_long(most_characters))
    else:
        title, parts = None, _text_parts(decoded(path.read_bytes(), content_type), kind)
    text = _clean("\n".join(_bounded(parts, most_characters)))
    if not text.strip():
        scanned = "; scanned pages are not read" if kind is Format.PDF else ""
        raise DocumentFailed(f"No text was found{scanned}.")
    title = title or (None if kind in _TABULAR else _title_in(text, kind))
    return Cracked(text, " ".join(_clean(title).split())[:_TITLE_CHARACTERS] if title else None)


def _text_parts(text: str, kind: Format) -> Iterable[str]:
    if kind is Format.CSV:
        return csv_lines(text)
    if kind is Format.JSON:
        value = json_value(text)
        return json_paths(value if isinstance(value, list) else [value])
    if kind is Format.JSON_LINES:
        return json_paths(json_lines(text))
    return [text]


def _by_library(path: Path, kind: Format, content_type: str | None) -> _Parts:
    body = path.read_bytes()
    if kind is Format.HTML:
        page = decoded(body, content_type, is_html=True)
        document = _extracted(page.encode("utf-8", "replace"), kind)
        return _page_title(page), [with_headers_repeated(_page_text(page, document.content))]
    if kind is Format.PDF and b"%%EOF" not in body[-_PDF_END_BYTES:]:
        raise DocumentFailed("The PDF is cut off: its end is missing.")  # half its text is no help
    document = _extracted(body, kind)
    title = document.metadata.title
    if title and _FILE_NAME.fullmatch(title.strip().lower()):
        title = None
    if kind is Format.SLIDES and document.pages:
        return title, _paragraphs(_slides(document))
    if kind is Format.WORKBOOK:
        return title, _sheets(document)
    return title, [with_headers_repeated(document.content)]


def _extracted(body: bytes, kind: Format) -> Any:
    async def extract() -> Any:
        source = xberg.ExtractInput(kind="bytes", bytes=body, mime_type=_MIME_TYPES[kind])
        return await xberg.extract(source, _CONFIG)

    try:
        result = asyncio.run(extract())
    except (RuntimeError, ValueError, OSError) as error:
        raise DocumentFailed(_why(str(error), kind)) from error
    if not result.results:
        raise DocumentFailed(_why(", ".join(str(error) for error in result.errors), kind))
    return result.results[0]


def _why(message: str, kind: Format) -> str:
    told = " ".join(message.split())[:300]
    if "encrypted" in told or "password" in told:
        return f"The {kind.value.partition(' ')[2]} is encrypted."
    if beyond := _BEYOND.search(told):
        return f"The file holds more than is read: {beyond[1]}"
    return f"The file is damaged or is not {kind.value}: {told}"


def _page_title(page: str) -> str | None:
    found = _PAGE_TITLE.search(page[:100_000])
    return unescape(found[1]).strip() or None if found else None


def _page_text(page: str, whole: str) -> str:
    """The main part of a page, or all of it where it is small or its main part is not found."""
    if whole.strip() and len(whole) <= _SMALL_PAGE_CHARACTERS:
        return whole
    main = trafilatura.extract(
        page,
        output_format="markdown",
        include_comments=False,
        include_formatting=True,
        include_tables=True,
        favor_recall=True,
    )
    return main if main and len(main) > len(whole) / 4 else whole


def _slides(document: Any) -> Iterator[str]:
    for page in document.pages:
        yield page.content.strip()
        if page.speaker_notes and page.speaker_notes.strip():
            yield f"Notes: {page.speaker_notes.strip()}"


def _sheets(document: Any) -> Iterator[str]:
    names = {page.page_number: page.sheet_name for page in document.pages or []}
    for table in document.tables:
        yield f"## {names.get(table.page_number) or 'Sheet'}\n"
        yield from record_lines(table.cells)
        yield ""


def _paragraphs(blocks: Iterable[str]) -> Iterator[str]:
    for block in blocks:
        yield block
        yield ""


def _bounded(parts: Iterable[str], most_characters: int) -> Iterator[str]:
    left = most_characters
    for part in parts:
        left -= len(part)
        if left < 0:
            raise DocumentFailed(_too_long(most_characters))
        yield part


def _too_long(most_characters: int) -> str:
    return f"The text is longer than {most_characters:,} characters."


def _title_in(text: str, kind: Format) -> str | None:
    """As the service's own scripts take it: a title line, a heading, the first line of a text."""
    start = text[:20_000]
    patterns = [_HEADING]
    if kind in (Format.TEXT, Format.MARKDOWN):
        patterns = [_FRONT_MATTER, _HEADING] if kind is Format.MARKDOWN else [_TITLE_LINE]
    for pattern in patterns:
        found = pattern.search(start)
        if found:
            return found[1].strip("\"'* ")
    if kind in (Format.PDF, Format.WORD, Format.SLIDES):
        return None
    lines = (line.strip("#*>-_= \t") for line in start.splitlines())
    return next((line for line in lines if any(map(str.isalnum, line))), None)


def _clean(text: str) -> str:
    """Without what databases refuse (NUL, halves of surrogate pairs), with one kind of newline."""
    whole = text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\r\n", "\n").replace("\r", "\n")
