import pytest

from linarite.indexing.crawling.addresses import key, may_be_document, normalised, origin, site


@pytest.mark.parametrize(
    ("url", "one"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("https://example.org:443/a#b", "https://example.org/a"),
        ("https://example.org/a/../b/./c?", "https://example.org/b/c"),
        ("https://example.org/?b=2&utm_source=x&a=1&gclid=y", "https://example.org/?b=2&a=1"),
        ("https://example.org/ü x?q=ü", "https://example.org/%C3%BC%20x?q=%C3%BC"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        (" https://example.org/a\n", "https://example.org/a"),
    ],
)
def test_an_address_has_one_form(url, one):
    assert normalised(url) == one
    assert normalised(one) == one


@pytest.mark.parametrize(
    ("link", "one"),
    [
        ("../x", "https://example.org/x"),
        ("//other.org/x", "https://other.org/x"),
        ("?page=2", "https://example.org/docs/?page=2"),
        ("#here", "https://example.org/docs/"),
    ],
)
def test_a_link_is_read_from_where_it_stands(link, one):
    assert normalised(link, "https://example.org/docs/") == one


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://x/",
        "javascript:x",
        "http://",
        "http://[",
        "http://a b/",
        "http://u:p@x/",
        "http://x:99999/",
        "https://\ud800/",
        "data:text/html,x",
        f"https://x/{3000 * 'a'}",
    ],
)
def test_what_is_no_address_of_a_page_is_none(url):
    assert normalised(url) is None


def test_a_site_is_a_host_with_and_without_www():
    assert site("https://www.example.org/a") == site("http://example.org/b")
    assert site("https://example.org:8443/") != site("https://example.org/")
    assert site("https://docs.example.org/") != site("https://example.org/")
    assert origin("https://example.org:8443/a?b") == "https://example.org:8443"


def test_what_cannot_be_a_document_is_not_asked_for():
    assert not may_be_document("https://x/a.PNG?x=1")
    assert may_be_document("https://x/a.pdf")
    assert may_be_document("https://x/a.php?b.png")


def test_keys_are_readable_and_their_own():
    urls = [
        "https://example.org/",
        "https://example.org/docs/Intro.html",
        "https://example.org/docs/intro.html",
        "https://example.org/docs/intro?page=2",
        "https://example.org/%2E%2E/%2e%2e/etc/passwd",
        "https://example.org/a%00b/%2F/..%5c",
        "https://example.org/" + "long/" * 300,
        "https://example.org/" + "%C3%BC" * 300,
    ]
    keys = [key(url, ".html") for url in urls]

    assert keys[0].startswith("example.org/index-")
    assert keys[1].startswith("example.org/docs/intro-")
    assert len({one.lower() for one in keys}) == len(urls)
    for one in keys:
        assert one.endswith(".html")
        assert len(one) < 500
        assert all(part and not part.startswith(".") for part in one.split("/"))
        assert one.isprintable()
        assert "\\" not in one
