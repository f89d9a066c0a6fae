from collections.abc import Iterator

import pytest
from tests.support.hostile_site import html
from tests.support.web_site import WebSite, redirect, web_site

from linarite.indexing.crawling.fetching import Fetcher, Limits, NotFetched
from linarite.outbound import GuardedTransport
from linarite.settings import OutboundSettings

LIMITS = Limits(seconds=5, bytes=1_000_000, redirects=3)


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site() as site:
        site.pages["/"] = html("hello", Connection="close")
        yield site


class Resolver:
    """Gives each time the next of the answers that somebody else's name server would."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def __call__(self, _host: str, _port: int) -> list[str]:
        return [self.answers.pop(0)]


def fetcher(site: WebSite, resolver: Resolver) -> Fetcher:
    settings = OutboundSettings(allow=(site.address,))
    return Fetcher(settings, lambda: False, GuardedTransport(settings, resolver))


@pytest.mark.parametrize("second", ["10.0.0.1", "169.254.169.254", "64:ff9b::a00:1", "::1"])
def test_a_name_that_comes_to_mean_an_inner_address_is_refused(site, second):
    resolver = Resolver("127.0.0.1", second)
    one = fetcher(site, resolver)
    url = site.url("/", "rebinding.example")

    assert one.fetch(url, LIMITS).body == b"hello"
    assert len(resolver.answers) == 1  # it was asked once, and what it said was connected to
    with pytest.raises(NotFetched, match=r"outbound\.allow"):
        one.fetch(url, LIMITS)
    one.close()


def test_a_redirect_to_a_name_that_means_an_inner_address_is_refused(site):
    site.pages["/away"] = redirect("http://metadata.example/latest")
    one = fetcher(site, Resolver("127.0.0.1", "169.254.169.254"))

    with pytest.raises(NotFetched, match="link-local") as failure:
        one.fetch(site.url("/away", "site.example"), LIMITS)

    assert failure.value.is_final
    one.close()


def test_a_redirect_is_checked_before_it_is_asked(site):
    site.pages["/away"] = redirect("/")
    asked = []

    def check(url: str) -> None:
        asked.append(url)
        if len(asked) == 2:
            raise NotFetched("no", is_final=True)

    one = fetcher(site, Resolver("127.0.0.1"))
    with pytest.raises(NotFetched, match="no"):
        one.fetch(site.url("/away"), LIMITS, check=check)

    assert asked == [site.url("/away"), site.url("/")]
    assert [path for path, _ in site.seen] == ["/away"]
    one.close()
