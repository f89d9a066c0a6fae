import gzip

import pytest
from tests.support.web_site import WebSite, content, redirect, web_site

from linarite.errors import FileImportFailed
from linarite.outbound import Outbound, OutboundRefused
from linarite.resources.files.fetching import Download, Interrupted
from linarite.settings import OutboundSettings

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def site():
    with web_site() as site:
        yield site


def fetch(site: WebSite, path: str = "/file", moved=lambda _size: None) -> bytes:
    outbound = Outbound(OutboundSettings(allow=("127.0.0.1",), read_seconds=2))
    return b"".join(Download(outbound, site.url(path), moved, lambda _seconds: None).pieces())


def breaking(at: int, *, etag: str | None = '"v1"', ranges: bool = True, new_etag: str = ""):
    """A page of CONTENT whose connection breaks after `at` bytes of each answer."""

    def page(request):
        wanted = request.headers.get("Range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        matches = request.headers.get("If-Range", etag) == (new_etag or etag)
        partial = ranges and start > 0 and matches
        body = CONTENT[start:] if partial else CONTENT
        request.send_response(206 if partial else 200)
        if partial:
            request.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if etag:
            request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:at])
        if len(body) > at:
            raise ConnectionError

    return page


def test_a_file_is_fetched_byte_for_byte_and_counted(site):
    sizes = []
    site.pages["/file"] = content(CONTENT)

    assert fetch(site, moved=sizes.append) == CONTENT
    assert sum(sizes) == len(CONTENT)


def test_a_broken_connection_is_resumed_where_it_broke_as_often_as_needed(site):
    site.pages["/file"] = breaking(300_000)

    assert fetch(site) == CONTENT
    assert [headers.get("range") for _, headers in site.seen] == [
        None,
        "bytes=300000-",
        "bytes=600000-",
        "bytes=900000-",
    ]


def test_content_that_changed_meanwhile_is_not_glued_together(site):
    site.pages["/file"] = breaking(300_000, new_etag='"v2"')

    with pytest.raises(Interrupted, match="broke off after 300000 bytes and cannot be resumed"):
        fetch(site)


def test_a_server_without_ranges_is_asked_anew_by_another_try(site):
    site.pages["/file"] = breaking(300_000, ranges=False)

    with pytest.raises(Interrupted, match="cannot be resumed"):
        fetch(site)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_content_without_a_strong_tag_is_not_resumed(site, etag):
    site.pages["/file"] = breaking(300_000, etag=etag)

    with pytest.raises(Interrupted, match="broke off after 300000 bytes"):
        fetch(site)
    assert len(site.seen) == 1


def test_a_connection_that_breaks_again_and_again_without_a_byte_is_given_up(site):
    once = breaking(300_000)

    def page(request):
        if "Range" in request.headers:
            raise ConnectionError
        once(request)

    site.pages["/file"] = page

    with pytest.raises(Interrupted, match="broke off after 300000 bytes"):
        fetch(site)
    assert len(site.seen) == 1 + 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
def test_an_answer_that_will_stay_the_same_ends_it(site, status):
    site.pages["/file"] = content(b"", status, x_ms_error_code="AuthenticationFailed")

    with pytest.raises(FileImportFailed, match=rf"answered {status} .*\(AuthenticationFailed\)"):
        fetch(site)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_answer_that_may_change_is_worth_another_try(site, status):
    site.pages["/file"] = content(b"", status)

    with pytest.raises(Interrupted, match=f"answered {status}"):
        fetch(site)


def test_what_a_server_says_is_not_repeated_unless_it_is_a_word(site):
    site.pages["/file"] = content(b"", 403, x_ms_error_code="<script>")

    with pytest.raises(FileImportFailed, match=r"answered 403 Forbidden\.$"):
        fetch(site)


def test_compressed_content_is_unpacked(site):
    site.pages["/file"] = content(gzip.compress(CONTENT), Content_Encoding="gzip", ETag='"v1"')

    assert fetch(site) == CONTENT


def test_content_that_cannot_be_unpacked_ends_it(site):
    site.pages["/file"] = content(b"no gzip", Content_Encoding="gzip")

    with pytest.raises(FileImportFailed, match="cannot be unpacked"):
        fetch(site)


def test_redirects_are_followed_and_vetted(site):
    site.pages["/file"] = content(CONTENT)
    site.pages["/moved"] = redirect("/file")
    site.pages["/inside"] = redirect(site.url("/file", "127.0.0.2"))
    site.pages["/loop"] = redirect("/loop")

    assert fetch(site, "/moved") == CONTENT
    with pytest.raises(OutboundRefused):
        fetch(site, "/inside")
    with pytest.raises(FileImportFailed, match="redirects too often"):
        fetch(site, "/loop")


def test_no_message_holds_the_path_or_the_query(site):
    for page in (content(b"", 404), content(b"", 500), breaking(10, etag=None)):
        site.pages["/secret"] = page
        with pytest.raises((FileImportFailed, Interrupted)) as raised:
            fetch(site, "/secret?sig=s3cret")
        assert "secret" not in raised.value.message
        assert "s3cret" not in raised.value.message


def test_what_moved_raises_comes_out(site):
    class Enough(Exception):
        pass

    def moved(_size):
        raise Enough

    site.pages["/file"] = content(CONTENT)

    with pytest.raises(Enough):
        fetch(site, moved=moved)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/file", "refused"),
        ("http://nowhere.invalid/file", "the name nowhere.invalid could not be resolved"),
    ],
)
def test_an_address_where_nobody_is_is_named_as_such(url, reason):
    outbound = Outbound(OutboundSettings(allow=("127.0.0.1", "nowhere.invalid")))
    download = Download(outbound, url, lambda _size: None, lambda _seconds: None)

    with pytest.raises(Interrupted, match=rf"The address could not be reached: .*{reason}"):
        b"".join(download.pieces())
