"""Bytes to text, where nobody or somebody says in which charset they are."""

import codecs
import re
from email.message import Message

from charset_normalizer import from_bytes

from linarite.indexing.failures import DocumentFailed

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?\s*([\w-]+)"""
)
_SAMPLE_BYTES = 64 * 1024
_MACS = ("cyrillic", "greek", "iceland", "latin2", "roman", "turkish")
_FORGOTTEN = [f"mac_{name}" for name in _MACS]
"""Charsets that nothing is written in any more, and that share most letters with some that are."""
_FEW = 0.25
"""Up to this share of bytes beyond ASCII a text is Latin with accents, or a smear of typography."""


def decoded(body: bytes, content_type: str | None, is_html: bool = False) -> str:
    """The text of `body`.

    By its byte order mark, else as its content type or (HTML) itself declares, else UTF-8, else
    by a guess: windows-1252 where few bytes are beyond ASCII, else by their statistics. A charset
    that is declared and does not fit is not believed.

    Raises:
        DocumentFailed: it is no text.
    """
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return body.decode(charset, errors="replace")
    for name in (_of_content_type(content_type), _of_html(body) if is_html else None, "utf-8"):
        text = _strictly(body, name)
        if text is not None:
            return _checked(text)
    return _checked(body.decode(_guess(body), errors="replace"))


def _of_content_type(content_type: str | None) -> str | None:
    message = Message()
    message["content-type"] = content_type or "text/plain"
    return message.get_content_charset()


def _of_html(body: bytes) -> str | None:
    found = _DECLARED.search(body[:2048].lower())
    return found[1].decode() if found else None


def _strictly(body: bytes, charset: str | None) -> str | None:
    if charset is None or charset.startswith(("utf-16", "utf16")):
        return None  # what begins with ASCII tags or has no mark is not UTF-16 for being so called
    if charset in ("iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii"):
        charset = "windows-1252"  # as browsers take them
    try:
        text = body.decode(charset)
    except (LookupError, UnicodeError):
        return None
    return text if "\0" not in text[:_SAMPLE_BYTES] else None


def _guess(body: bytes) -> str:
    sample = body[: _SAMPLE_BYTES - _SAMPLE_BYTES % 4]
    pairs = len(sample) // 2
    if sample[1::2].count(0) > pairs // 3:
        return "utf-16-le"
    if sample[::2].count(0) > pairs // 3:
        return "utf-16-be"
    beyond = sum(1 for byte in sample if byte > 127)
    if beyond <= len(sample) * _FEW:
        return "windows-1252"
    best = from_bytes(sample, cp_exclusion=_FORGOTTEN).best()
    return best.encoding if best is not None else "windows-1252"


def _checked(text: str) -> str:
    sample = text[:_SAMPLE_BYTES]
    controls = sum(1 for each in sample if each < " " and each not in "\t\n\r\f\v\x1b")
    if controls > len(sample) / 50:
        raise DocumentFailed("The file is not text: it holds binary data.")
    return text
