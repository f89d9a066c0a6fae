"""What a crawl wants to know of an HTML page: its title, its links, what it wishes of robots."""

import re
from dataclasses import dataclass, field

from lxml import etree

from linarite.indexing.crawling.addresses import normalised

MOST_LINKS = 2000
_TRIED = 2 * MOST_LINKS
_LONGEST_TITLE = 300
_STEP_BYTES = 1 << 16
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_KNOWN = re.compile(
    r"utf-?8|utf-?16(-?[lb]e)?|us-ascii|latin-?1|iso-?8859-?\d{1,2}|(windows|cp)-?125\d|cp866"
    r"|koi8-[ru]|shift[_-]jis|euc-(jp|kr)|iso-2022-jp|gbk|gb2312|gb18030|big5|tis-620|macintosh",
    re.IGNORECASE,
)


@dataclass
class Markup:
    """What stands in a page.

    Args:
        title: None where it has none.
        links: where its links lead, normalised, in their order, each once; `MOST_LINKS` at most.
        canonical: the address that it calls its own.
        is_indexed: whether it wants to be found.
        is_followed: whether it wants its links to be followed.
    """

    title: str | None = None
    links: list[str] = field(default_factory=list)
    canonical: str | None = None
    is_indexed: bool = True
    is_followed: bool = True

    def obey(self, robots: str) -> None:
        """Take in the words of a robots meta tag, or of the header of that name."""
        words = set(re.split(r"[\s,]+", robots.lower()))
        self.is_indexed = self.is_indexed and not words & {"noindex", "none"}
        self.is_followed = self.is_followed and not words & {"nofollow", "none"}


def read_markup(body: bytes, url: str, charset: str | None) -> Markup:
    """Read a page without building its tree: in time and memory that its length bounds.

    Args:
        body: as it was fetched.
        url: where it was.
        charset: what the server says it is written in.
    """
    target = _Target(url)
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True)
    text = body.decode(_encoding(body, charset), "replace").encode("utf-8", "replace")
    try:
        for start in range(0, len(text), _STEP_BYTES):
            parser.feed(text[start : start + _STEP_BYTES])
        parser.close()
    except etree.XMLSyntaxError:  # of a page without a single tag
        pass
    return target.read()


def _encoding(body: bytes, charset: str | None) -> str:
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return encoding
    found = _CHARSET.search(body[:2048])
    for name in (charset, found and found[1].decode("ascii", "replace")):
        if name and _KNOWN.fullmatch(name.strip()):
            try:
                b"".decode(name.strip())
            except LookupError:
                continue
            return name.strip()
    return "utf-8"


class _Target:
    """Takes the tags of a page as they come."""

    def __init__(self, url: str) -> None:
        self._markup = Markup()
        self._base = url
        self._links: dict[str, None] = {}
        self._tried = 0
        self._title: list[str] = []
        self._is_title = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take in a start tag."""
        self._is_title = tag == "title" and not self._title
        relations = attributes.get("rel", "").lower().split()
        href = attributes.get("href")
        match tag:
            case "a" | "area" if href and "nofollow" not in relations:
                self._link(href)
            case "link" if href and "canonical" in relations:
                self._markup.canonical = normalised(href, self._base)
            case "base" if href:
                self._base = normalised(href, self._base) or self._base
            case "meta" if attributes.get("name", "").lower() in {"robots", "linarite"}:
                self._markup.obey(attributes.get("content", ""))

    def _link(self, href: str) -> None:
        self._tried += 1
        if self._tried <= _TRIED and len(self._links) < MOST_LINKS:
            link = normalised(href, self._base)
            if link is not None:
                self._links[link] = None

    def end(self, _tag: str) -> None:
        """Take in an end tag."""
        self._is_title = False

    def data(self, text: str) -> None:
        """Take in text."""
        if self._is_title and len(self._title) < _LONGEST_TITLE:
            self._title.append(text[: 4 * _LONGEST_TITLE])

    def close(self) -> None:
        """Have done."""

    def read(self) -> Markup:
        """All of it."""
        title = " ".join("".join(self._title).split())[:_LONGEST_TITLE]
        self._markup.title = title or None
        self._markup.links = list(self._links)
        return self._markup
