"""The pages of a job's web sites, in a container that may hold other documents too."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from linarite.indexing.containers.container import Container, Item, Page
from linarite.resources.ingestion.specs import CrawlSpec
from linarite.settings import OutboundSettings

if TYPE_CHECKING:  # what it loads an installation may be without
    from linarite.indexing.crawling.crawl import Crawled


class SitePages:
    """As a Container, the pages that crawls of one job saved; and the crawl that saves them.

    Args:
        container: where they are.
        spec: where the crawl begins and how far it goes.
        outbound: the ``[outbound]`` section.
        job: whose pages they are.
    """

    def __init__(
        self, container: Container, spec: CrawlSpec, outbound: OutboundSettings, job: str
    ) -> None:
        self._container = container
        self._spec = spec
        self._outbound = outbound
        self._job = job

    @property
    def place(self) -> str:
        """As `Container.place`."""
        return self._container.place

    def list(self) -> Iterator[Item]:
        """Its pages."""
        return (item for item in self._container.list() if item.more.get("job") == self._job)

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        """As `Container.read`."""
        self._container.read(item, into, limit_bytes)

    def write(self, page: Page) -> None:
        """As `Container.write`."""
        self._container.write(page)

    def delete(self, key: str) -> None:
        """As `Container.delete`."""
        self._container.delete(key)

    def crawl(
        self,
        check: Callable[[], None],
        told: Callable[["Crawled"], None],
        warn: Callable[[str, str], None],
    ) -> "Crawled":
        """Crawl to the end or to a limit; see `indexing.crawling.crawl`."""
        from linarite.indexing.crawling.crawl import CrawlLimits, crawl

        spec = self._spec
        limits = CrawlLimits(
            spec.max_depth,
            spec.max_seconds,
            spec.max_download_seconds,
            spec.max_file_bytes,
            spec.max_redirects,
            spec.max_files,
        )
        return crawl(
            spec.urls,
            self._container,
            limits,
            self._outbound,
            job=self._job,
            check=check,
            told=told,
            warn=warn,
        )
