import dataclasses
import io
import secrets
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.connects import watched_connects
from tests.support.hostile_site import be_hostile, html, links
from tests.support.web_site import WebSite, content, redirect, web_site

from linarite.clock import SystemClock
from linarite.indexing.containers.blob import BlobContainer
from linarite.indexing.containers.blob_access import by_connection_string
from linarite.indexing.containers.container import Container, Item
from linarite.indexing.containers.folder import FolderContainer
from linarite.indexing.containers.own import OwnContainer
from linarite.indexing.crawling.crawl import Crawled, CrawlLimits, crawl
from linarite.indexing.failures import IngestionFailed
from linarite.settings import OutboundSettings
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site() as site:
        site.pages["/"] = html(links("/a", "/b", title="Home"))
        site.pages["/a"] = html(links("/c", title="A"))
        site.pages["/b"] = html(links("/", title="B"))
        site.pages["/c"] = html(links("/d", title="C"))
        site.pages["/d"] = html(links(title="D"))
        yield site


class Crawling:
    """Crawls into one folder."""

    def __init__(self, site: WebSite, folder: Path) -> None:
        folder.mkdir()
        self.site = site
        self.folder = folder
        self.container = FolderContainer(folder)
        self.outbound = OutboundSettings(
            allow=(site.address,), read_seconds=1, min_bytes_per_second=2000
        )
        self.warnings: dict[str, str] = {}

    def __call__(self, *urls: str, check=lambda: None, job="job", **limits) -> Crawled:
        self.warnings = {}
        self.site.seen.clear()
        return crawl(
            urls or (self.site.url("/"),),
            self.container,
            CrawlLimits(**limits),
            self.outbound,
            job=job,
            check=check,
            warn=self.warnings.__setitem__,
        )

    def items(self) -> dict[str, Item]:
        """What is saved, by path."""
        return {item.url.removeprefix(self.site.url("")): item for item in self.container.list()}

    def read(self, path: str) -> bytes:
        into = io.BytesIO()
        self.container.read(self.items()[path], into, 1 << 30)
        return into.getvalue()

    def asked(self) -> list[str]:
        return [path for path, _ in self.site.seen if path != "/robots.txt"]


@pytest.fixture
def crawling(site: WebSite, tmp_path: Path) -> Crawling:
    return Crawling(site, tmp_path / "pages")


def test_pages_are_saved_as_they_came_with_where_they_were(crawling, site):
    assert crawling() == Crawled(saved=3, unchanged=0, known=3, is_complete=True)

    items = crawling.items()
    assert sorted(items) == ["/", "/a", "/b"]
    assert items["/a"].title == "A"
    assert items["/a"].url == site.url("/a")
    assert items["/a"].key.startswith("127.0.0.1/a-")
    assert items["/a"].key.endswith(".html")
    assert crawling.read("/a") == links("/c", title="A").encode()
    assert crawling.warnings == {}


@pytest.mark.parametrize(("depth", "pages"), [(0, 1), (1, 3), (2, 4), (3, 5)])
def test_links_are_followed_as_deep_as_asked(crawling, depth, pages):
    assert crawling(depth=depth).saved == pages


def test_no_more_files_are_fetched_than_asked(crawling, site):
    crawled = crawling(files=2)

    assert (crawled.saved, crawled.is_complete) == (2, False)
    assert sorted(crawling.items()) == ["/", "/a"]
    assert len(crawling.asked()) == 2
    assert "its 2 files" in crawling.warnings[site.url("/")]


def test_an_exact_number_of_files_is_no_cut(crawling):
    assert crawling(files=3).is_complete


def test_the_crawler_gives_its_name_and_keeps_no_cookies(crawling, site):
    site.pages["/"] = html(links("/a"), Set_Cookie="id=1")
    crawling()

    assert all(headers["user-agent"].startswith("linarite/") for _, headers in site.seen)
    assert not any("cookie" in headers for _, headers in site.seen)


def test_it_stays_on_its_site(crawling, site):
    with web_site() as other:
        crawling.outbound = crawling.outbound.model_copy(
            update={"allow": (site.address, other.address)}
        )
        site.pages["/"] = html(links(other.url("/x"), "/away", "/a"))
        site.pages["/away"] = redirect(other.url("/x"))
        crawled = crawling()

        assert other.seen == []
    assert crawled.saved == 2
    assert "redirects to another site" in crawling.warnings[site.url("/away")]


def test_one_page_by_many_addresses_is_fetched_once(crawling, site):
    whole = f"HTTP://{site.address}/a"
    site.pages["/"] = html(links("/a#top", "/a?utm_source=x", "/b/../a", "/A/../a", whole))
    crawling()

    assert crawling.asked() == ["/", "/a"]


def test_a_page_that_names_its_own_address_is_saved_under_it(crawling, site):
    site.pages["/"] = html(links("/b?print=1", "/b", "/c?x"))
    own = '<link rel="canonical" href="/b"><p>Text</p>'
    site.pages["/b"] = html(own)
    site.pages["/c"] = html('<link rel="canonical" href="/d"><p>C</p>')
    site.pages["/d"] = html('<link rel="canonical" href="/c"><p>D</p>')
    crawling()

    assert sorted(crawling.items()) == ["/", "/b", "/d"]


def test_a_page_whose_own_address_is_not_there_is_saved_where_it_was(crawling, site):
    site.pages["/a"] = html('<link rel="canonical" href="/moved"><a href="/c">x</a>')
    crawled = crawling(depth=2)

    assert crawled.is_complete
    assert sorted(crawling.items()) == ["/", "/a", "/b", "/c"]
    assert crawling.asked().count("/a") == 2


def test_a_page_that_a_redirect_took_already_is_no_cut(crawling, site):
    site.pages["/"] = html(links("/old", "/a"))
    site.pages["/old"] = redirect("/a")

    assert crawling(files=2).is_complete


def test_a_redirect_is_known_by_where_it_leads(crawling, site):
    site.pages["/"] = html(links("/old", "/a", "/older"))
    site.pages["/old"] = redirect("/a")
    site.pages["/older"] = redirect("/old")

    assert crawling().saved == 2
    assert sorted(crawling.items()) == ["/", "/a"]
    assert crawling() == Crawled(saved=0, unchanged=2, known=4, is_complete=True)


def test_the_same_content_is_saved_once(crawling, site):
    site.pages["/b"] = site.pages["/a"]

    assert crawling().saved == 2
    assert sorted(crawling.items()) == ["/", "/a"]


def test_robots_meta_tags_and_headers_are_obeyed(crawling, site):
    site.pages["/a"] = html('<meta name="robots" content="noindex"><a href="/c">x</a>')
    site.pages["/b"] = html(links("/d", title="B"), X_Robots_Tag="nofollow", ETag='"1"')
    crawling(depth=2)
    site.pages["/b"] = content(b"", 304)
    crawling(depth=2)

    assert sorted(crawling.items()) == ["/", "/b", "/c"]
    assert "not to index" in crawling.warnings[site.url("/a")]


def test_robots_txt_is_obeyed(crawling, site):
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: linarite\nDisallow: /a\n"
    site.pages["/robots.txt"] = content(rules)
    site.pages["/b"] = redirect("/a")
    crawling()

    assert sorted(crawling.items()) == ["/"]
    assert crawling.asked() == ["/", "/b"]
    assert "robots.txt keeps robots off" in crawling.warnings[site.url("/a")]


@pytest.mark.parametrize(
    ("status", "allowed"), [(404, True), (403, True), (500, False), (429, False)]
)
def test_rules_that_are_not_to_be_had_forbid_all_or_nothing(crawling, site, status, allowed):
    site.pages["/robots.txt"] = content(b"", status)

    if allowed:
        assert crawling().saved == 3
    else:
        with pytest.raises(IngestionFailed, match=r"robots\.txt is not to be had"):
            crawling()
        assert crawling.asked() == []


def test_the_pace_that_a_site_asks_for_is_kept(crawling, site):
    site.pages["/robots.txt"] = content(b"User-agent: *\nCrawl-delay: 0.2\n")
    began = time.monotonic()
    crawling()

    assert time.monotonic() - began >= 0.4


def test_a_pace_without_end_is_not_waited_for(crawling, site):
    site.pages["/robots.txt"] = content(b"User-agent: *\nCrawl-delay: 100000\n")
    crawled = crawling(seconds=1)

    assert (crawled.saved, crawled.is_complete) == (1, False)


def test_an_unchanged_page_costs_a_304_and_its_links_are_known(crawling, site):
    def tagged(body: str):
        def page(request):
            if request.headers["if-none-match"] == '"1"':
                return content(b"", 304)(request)
            return html(body, ETag='"1"')(request)

        return page

    site.pages["/"] = tagged(links("/a", title="Home"))
    site.pages["/a"] = tagged(links("/c", title="A"))
    assert crawling(depth=2).saved == 3
    before = crawling.items()

    assert crawling(depth=2) == Crawled(saved=0, unchanged=3, known=3, is_complete=True)
    assert crawling.items() == before
    site.pages["/c"] = html(links(title="new"))
    assert crawling(depth=2) == Crawled(saved=1, unchanged=2, known=3, is_complete=True)
    assert crawling.items()["/c"].title == "new"


def test_pages_that_are_gone_are_told_after_a_whole_crawl_only(crawling, site):
    crawling(depth=2)
    keys = {path: item.key for path, item in crawling.items().items()}
    site.pages["/"] = html(links("/b", title="Home without A"))

    assert crawling(depth=2, files=1).gone == ()
    assert sorted(crawling(depth=2).gone) == sorted([keys["/a"], keys["/c"]])
    site.pages["/b"] = content(b"", 404)
    assert keys["/b"] in crawling(depth=2).gone
    assert sorted(crawling.items()) == ["/", "/a", "/b", "/c"]


def test_a_page_that_fails_stays_and_so_does_what_it_leads_to(crawling, site):
    crawling(depth=2)
    site.pages["/a"] = content(b"", 503)

    crawled = crawling(depth=2)

    assert (crawled.is_complete, crawled.gone, crawled.unchanged) == (True, (), 4)


class Odd(dict):
    """What is known of a page, as nobody thought that it could be."""

    def __contains__(self, name):
        if name == "etag":
            raise LookupError(name)
        return super().__contains__(name)


def test_what_nobody_foresaw_of_a_page_is_its_own_warning(crawling, site):
    crawling()
    items = list(crawling.container.list())

    class Container(FolderContainer):
        def list(self):
            for item in items:
                is_odd = item.url == site.url("/a")
                yield dataclasses.replace(item, more=Odd(item.more)) if is_odd else item

    crawling.container = Container(crawling.folder)

    crawled = crawling()

    assert list(crawling.warnings) == [site.url("/a")]
    assert "internal error (LookupError)" in crawling.warnings[site.url("/a")]
    assert (crawled.unchanged, crawled.gone) == (3, ())


def test_a_beginning_that_fails_makes_nothing_gone(crawling, site):
    site.pages["/start"] = redirect("/")
    crawling(site.url("/start"), site.url("/d"))
    site.pages["/start"] = content(b"", 403)

    crawled = crawling(site.url("/start"), site.url("/d"))

    assert (crawled.is_complete, crawled.gone) == (False, ())


def test_a_page_that_became_another_kind_of_document_leaves_its_first_key(crawling, site):
    crawling()
    before = crawling.items()["/a"].key
    site.pages["/a"] = content(b"# A", Content_Type="text/markdown")

    for _ in range(2):  # of a crawl that was killed before the first key was removed
        assert crawling().gone == (before,)


def test_pages_of_another_job_are_left_alone(crawling, site):
    crawling(depth=2, job="other")

    assert crawling(site.url("/d")).gone == ()


def test_a_crawl_that_was_stopped_goes_on_without_doubling(crawling):
    class Stopped(Exception):
        pass

    def check():
        if len(crawling.items()) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        crawling(depth=3, check=check)
    assert crawling(depth=3).is_complete
    assert sorted(crawling.items()) == ["/", "/a", "/b", "/c", "/d"]


def test_a_stop_does_not_wait_for_a_server(crawling, site):
    site.pages["/"] = lambda _request: time.sleep(1)
    crawling.outbound = crawling.outbound.model_copy(update={"read_seconds": 2})
    began = time.monotonic()

    def check():
        if time.monotonic() - began > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crawling(check=check)

    assert time.monotonic() - began < 0.8


def test_the_crawl_has_an_end_in_time(crawling, site):
    site.pages["/a"] = lambda _request: time.sleep(3)
    crawling.outbound = crawling.outbound.model_copy(update={"read_seconds": 30})
    began = time.monotonic()
    crawled = crawling(seconds=1.5)

    assert time.monotonic() - began < 2.5
    assert (crawled.saved, crawled.is_complete) == (1, False)
    told = "Not all pages were fetched: the crawl took longer than 0.025 minutes."
    assert crawling.warnings == {site.url("/"): told}


def test_a_crawl_without_a_page_tells_why_of_each(crawling, site):
    with pytest.raises(IngestionFailed) as failed:
        crawling(site.url("/none"), "http://10.0.0.1/")

    first, second = failed.value.inner
    assert first == f"{site.url('/none')}: the server answered 404."
    assert second.startswith("http://10.0.0.1/: The address 10.0.0.1 is a private address")
    assert str(failed.value) == f"Not one page could be fetched: {first}"


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "http://u:p@x/", "x", "http://"])
def test_an_address_that_is_none_of_the_web_is_told(crawling, url):
    with pytest.raises(IngestionFailed, match="Not one page could be fetched"):
        crawling(url)
    assert url in crawling.warnings


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "169.254.169.254", "[::1]", "[64:ff9b::10.0.0.1]", "2130706433"]
)
def test_inner_addresses_are_not_crawled(crawling, host):
    with pytest.raises(IngestionFailed, match=r"outbound\.allow"):
        crawling(f"http://{host}:81/")


def test_other_kinds_of_documents_are_saved_by_their_kind(crawling, site):
    site.pages["/"] = html(links("/x.pdf", "/get?id=1", "/notes.md", "/x.png", "/data"))
    site.pages["/x.pdf"] = content(b"%PDF-", Content_Type="application/pdf")
    site.pages["/get"] = content(b"%PDF-2", Content_Type="application/pdf; x=y")
    site.pages["/notes.md"] = content(b"# Notes", Content_Type="text/plain")
    site.pages["/data"] = content(b"{}", Content_Type="application/json")
    crawling()

    kinds = {path: item.key.rpartition(".")[2] for path, item in crawling.items().items()}
    assert kinds == {
        "/": "html",
        "/x.pdf": "pdf",
        "/get?id=1": "pdf",
        "/notes.md": "md",
        "/data": "json",
    }
    assert "/x.png" not in crawling.asked()


def test_a_hostile_site_is_held_and_none_of_it_reaches_inside(crawling, site):
    with web_site() as inside, watched_connects() as connected:
        told = be_hostile(site, inside.url("/secret"))
        began = time.monotonic()
        tracemalloc.start()
        crawled = crawling(download_seconds=1.5, file_bytes=2_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert inside.seen == []
    assert time.monotonic() - began < 30
    assert peak < 60_000_000
    host, port = site.address.split(":")
    assert set(connected) == {(host, int(port))}
    assert sorted(crawling.items()) == ["/", "/deep", "/many", "/odd-head"]
    assert not crawled.is_complete
    reasons = {url.removeprefix(site.url("")): why for url, why in crawling.warnings.items()}
    assert set(reasons) ^ set(told) == set(), reasons
    for path, why in told.items():
        assert why in reasons[path], (path, reasons[path])
    assert crawling(site.url("/odd-head")).unchanged == 1


def test_a_limit_that_memory_cannot_hold_is_refused(crawling):
    with pytest.raises(IngestionFailed, match="maxFileSize"):
        crawling(file_bytes=100_000_001)


@pytest.fixture(params=["blob", "own"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Container]:
    if request.param == "own":
        database = Database(f"sqlite:///{tmp_path / 'linarite.sqlite3'}")
        database.migrate()
        blobs = BlobStore((tmp_path / "blobs").as_uri())
        yield OwnContainer(
            database, blobs, SystemClock(), resource="one", name="pages", creates=True
        )
        database.close()
        return
    azurite = request.getfixturevalue("azurite")
    outbound = OutboundSettings(allow=(azurite.allow,))
    name = f"webpage-{secrets.token_hex(6)}"
    blob = BlobContainer(
        by_connection_string(azurite.connection_string, name, outbound), creates=True
    )
    yield blob
    blob.close()


def test_what_a_container_gives_back_is_enough_for_the_next_crawl(crawling, site, container):
    site.pages["/a"] = html(links("/c", title="Ä: “100 %”"), Last_Modified="Sat, 1 Jan 2022")
    crawling.container = container
    assert crawling(depth=2).saved == 4
    before = crawling.items()
    site.pages["/a"] = content(b"", 304)

    assert crawling(depth=2) == Crawled(saved=0, unchanged=4, known=4, is_complete=True)
    assert crawling.items() == before
    assert before["/a"].title == "Ä: “100 %”"
    site.pages["/"] = html(links("/b"))
    assert sorted(crawling(depth=2).gone) == sorted([before["/a"].key, before["/c"].key])
