"""From what was fetched to what is saved, and from that to what the next crawl asks."""

import re
from collections.abc import Mapping

from linarite.indexing.containers.container import Item, Page
from linarite.indexing.crawling.addresses import key
from linarite.indexing.crawling.fetching import Fetched
from linarite.indexing.crawling.markup import Markup, read_markup

_VALIDATORS = {
    "etag": ("etag", "if-none-match"),
    "modified": ("last-modified", "if-modified-since"),
}
"""By what they are kept as: the header that brings one, and the one that asks with it."""

_ROBOTS = "x-robots-tag"
_PLAIN = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,298}[\x21-\x7e])?")
"""A header that another request and a container can carry."""


def markup_of(fetched: Fetched) -> Markup:
    """What stands in a page that was fetched; of other kinds than HTML what its headers wish."""
    is_html = fetched.extension == ".html"
    markup = read_markup(fetched.body, fetched.url, fetched.charset) if is_html else Markup()
    markup.obey(fetched.headers.get(_ROBOTS, ""))
    return markup


def page_of(fetched: Fetched, markup: Markup, *, job: str, digest: str) -> Page:
    """What is saved of it.

    Args:
        fetched: the page.
        markup: what stands in it.
        job: whose it is.
        digest: of its body.
    """
    more = {"job": job, "sha256": digest}
    kept = {"robots": _ROBOTS} | {name: header for name, (header, _) in _VALIDATORS.items()}
    for name, header in kept.items():
        value = fetched.headers.get(header, "")
        if _PLAIN.fullmatch(value):
            more[name] = value
    charset = f"; charset={fetched.charset}" if fetched.charset else ""
    return Page(
        key=key(fetched.url, fetched.extension),
        body=fetched.body,
        content_type=f"{fetched.kind or 'application/octet-stream'}{charset}",
        url=fetched.url,
        title=markup.title,
        more=more,
    )


def saved_markup(item: Item, body: bytes) -> Markup:
    """What stands in an HTML page that was saved."""
    charset = (item.content_type or "").partition("charset=")[2]
    markup = read_markup(body, item.url, charset or None)
    markup.obey(item.more.get("robots", ""))
    return markup


def conditions(item: Item) -> Mapping[str, str]:
    """The headers that ask for a saved page only if it changed."""
    return {
        asking: item.more[name] for name, (_, asking) in _VALIDATORS.items() if name in item.more
    }
