import time

import pytest

from linarite.indexing.crawling.markup import MOST_LINKS, read_markup

URL = "https://example.org/docs/"


def read(body: str | bytes, charset: str | None = None):
    return read_markup(body.encode() if isinstance(body, str) else body, URL, charset)


def test_title_links_and_wishes_are_read():
    markup = read(
        "<title>\n The  title </title><base href='/other/'><link rel=canonical href=own>"
        "<meta name=robots content='NOFOLLOW'><svg><title>picture</title></svg>"
        "<a href='a'>1</a><a href=a>2</a><a name=x>3</a><a rel='nofollow' href=b>4</a>"
        "<!-- <a href=c> --><script>'<a href=d>'</script><area href=e>"
    )

    assert markup.title == "The title"
    assert markup.links == ["https://example.org/other/a", "https://example.org/other/e"]
    assert markup.canonical == "https://example.org/other/own"
    assert (markup.is_indexed, markup.is_followed) == (True, False)


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("<title>Über</title>".encode("cp1252"), "windows-1252"),
        ('<meta charset="iso-8859-1"><title>Über</title>'.encode("latin-1"), None),
        ("\ufeff<title>Über</title>".encode("utf-16"), None),
        ("\ufeff<title>Über</title>".encode(), "latin-1"),
        ("<title>Über</title>".encode(), "punycode"),
        ("<title>Über</title>".encode(), "no-such"),
    ],
)
def test_it_is_read_in_its_own_encoding(body, charset):
    assert read(body, charset).title == "Über"


@pytest.mark.parametrize(
    "body", [b"", b"plain", b"\0\xff\xfe", b"<", b"<title>", b"<![CDATA[", b"&#x110000;"]
)
def test_what_is_no_page_has_nothing(body):
    assert read(body).links == []


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<b>",
        "<a href=x>",
        "<p><font>",
        "<!--",
        "<",
        "&",
        "<a href='",
        "<table><tr>",
        "<a x=1 ",
    ],
)
def test_a_page_is_read_in_time_whatever_it_nests(piece):
    began = time.process_time()
    read(piece * (1_000_000 // len(piece)))

    assert time.process_time() - began < 3


def test_links_come_to_an_end():
    many = "".join(f"<a href=/{number}>" for number in range(5_000))
    none = "".join(f"<a href=javascript:{number}>" for number in range(5_000))

    assert len(read(many).links) == MOST_LINKS
    assert read(none + "<a href=x>").links == []
