"""Documents made of real prose: sentences of public-domain messages, drawn anew for each document.

The same number gives the same document every time, and no two documents the same text.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from tests.support.documents import docx, pdf

from bench.results import ROOT

PLAIN = ("txt", "md", "html")
OFFICE = ("pdf", "docx")
_PROSE = ROOT / "tests" / "retrieval" / "messages"
_MEDIAN_SENTENCES = 20
_MOST_SENTENCES = 250
_PARAGRAPH = 5
_LETTERS_PER_LINE = 90
_LINES_PER_PAGE = 50


def write(folder: Path, numbers: Sequence[int], formats: Sequence[str], edition: int = 0) -> None:
    """Write documents, the formats in turn; another `edition` of one has another text.

    They are as long as texts are: half below 4 KB, one in twenty above 16 KB.
    """
    for number in numbers:
        kind = formats[number % len(formats)]
        path = folder / f"{number // 1000:03}" / f"{number:06}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_FORMS[kind](f"Message {number}", _paragraphs(number, edition)))


def _paragraphs(number: int, edition: int) -> list[str]:
    drawn = random.Random(f"{number}/{edition}")
    count = min(_MOST_SENTENCES, max(3, int(drawn.lognormvariate(0, 0.9) * _MEDIAN_SENTENCES)))
    sentences = drawn.choices(_sentences(), k=count)
    return [" ".join(sentences[at : at + _PARAGRAPH]) for at in range(0, count, _PARAGRAPH)]


@cache
def _sentences() -> list[str]:
    prose = " ".join(" ".join(file.read_text().split()) for file in sorted(_PROSE.iterdir()))
    return re.findall(r"[A-Z][^.?!]{30,400}[.?!]", prose)


def _txt(title: str, paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join([title, *paragraphs]).encode()


def _md(title: str, paragraphs: Sequence[str]) -> bytes:
    parts = [f"## Part {at}\n\n{text}" for at, text in enumerate(paragraphs, 1)]
    return "\n\n".join([f"# {title}", *parts]).encode()


def _html(title: str, paragraphs: Sequence[str]) -> bytes:
    links = "".join(f'<li><a href="/{at}.html">Page {at}</a></li>' for at in range(10))
    text = "".join(f"<h2>Part {n}</h2><p>{escape(p)}</p>" for n, p in enumerate(paragraphs, 1))
    return (
        f"<!doctype html><html><head><title>{title}</title></head><body><nav><ul>{links}</ul></nav>"
        f"<main><article><h1>{title}</h1>{text}</article></main></body></html>"
    ).encode()


def _pdf(title: str, paragraphs: Sequence[str]) -> bytes:
    lines = [f"# {title}"]
    for paragraph in paragraphs:
        lines += re.findall(rf".{{1,{_LETTERS_PER_LINE}}}(?:\s|$)", paragraph)
    starts = range(0, len(lines), _LINES_PER_PAGE)
    return pdf([lines[at : at + _LINES_PER_PAGE] for at in starts], title)


def _docx(title: str, paragraphs: Sequence[str]) -> bytes:
    return docx([f"# {title}", *paragraphs], title)


_FORMS: Mapping[str, Callable[[str, Sequence[str]], bytes]] = {
    "txt": _txt,
    "md": _md,
    "html": _html,
    "pdf": _pdf,
    "docx": _docx,
}
