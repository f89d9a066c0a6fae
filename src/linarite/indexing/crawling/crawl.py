"""Crawling: from a few addresses along the links of their sites, each page into a container.

Pages are fetched a few at a time by threads, and taken in the order in which their links stood,
so that two crawls of the same site save the same pages, cut by a limit or not. A page that was
saved before is asked for only if it changed; where it did not, the links are those of what was
saved. Nothing but the container is written, so that a crawl may be killed and begun anew.
"""

import hashlib
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from linarite.indexing.containers.container import Container, Item
from linarite.indexing.crawling.addresses import may_be_document, normalised, site
from linarite.indexing.crawling.fetching import Fetched, Fetcher, Limits, NotFetched
from linarite.indexing.crawling.markup import Markup
from linarite.indexing.crawling.pages import conditions, markup_of, page_of, saved_markup
from linarite.indexing.crawling.robots import Robots
from linarite.indexing.crawling.threads import Outcome, Threads
from linarite.indexing.failures import DocumentFailed, IngestionFailed
from linarite.settings import OutboundSettings

MOST_FILE_BYTES = 100_000_000
"""The largest `max_file_bytes`: a page is held in memory until it is saved."""

_log = structlog.get_logger("linarite.ingestion")

_HELD_BYTES = 256_000_000
_THREADS = 4
_AHEAD = 16
_WARNINGS = 1000
_REASONS = 20
"""How many pages a crawl that had not one tells the reasons of."""
_LOOK_SECONDS = 0.2
_CHECKED_ITEMS = 500
_KNOWN, _KNOWN_A_FILE, _MOST_KNOWN = 10_000, 10, 2_000_000
"""How many addresses are held: so many at least, so many for each file, so many at most."""


@dataclass(frozen=True, slots=True)
class CrawlLimits:
    """How far a crawl goes: the contract's CrawlingSettings.

    Args:
        depth: how many links away from where it begins; 0: those pages only.
        seconds: how long it may take.
        download_seconds: how long one page may take, redirects and all.
        file_bytes: how long a page may be, unpacked; up to `MOST_FILE_BYTES`.
        redirects: how many a page may have.
        files: how many pages are saved.
    """

    depth: int = 1
    seconds: float = 3600
    download_seconds: float = 60
    file_bytes: int = 5_000_000
    redirects: int = 3
    files: int = 1000


@dataclass(frozen=True, slots=True)
class Crawled:
    """How far a crawl is, or came.

    Args:
        saved: how many pages are new or changed.
        unchanged: how many are in the container as they are on the site.
        known: how many addresses are known of.
        is_complete: whether neither a limit nor a failure that may pass kept it from a page.
        gone: keys of pages of earlier crawls that are no part of the site any more; none unless it
            `is_complete`. Nothing is deleted here.
    """

    saved: int
    unchanged: int
    known: int
    is_complete: bool = False
    gone: Sequence[str] = ()


def crawl(
    urls: Sequence[str],
    container: Container,
    limits: CrawlLimits,
    outbound: OutboundSettings,
    *,
    job: str,
    check: Callable[[], None],
    told: Callable[[Crawled], None] = lambda _crawled: None,
    warn: Callable[[str, str], None] = lambda _url, _why: None,
) -> Crawled:
    """Crawl to the end, or to a limit.

    Args:
        urls: where to begin; it stays on their sites.
        container: where pages are saved.
        limits: how far it goes.
        outbound: the ``[outbound]`` section.
        job: whose pages they are, of all in the container; others' are left alone.
        check: called several times a second; what it raises ends the crawl.
        told: called after each page with how far it is.
        warn: called with an address and why it was not saved.

    Raises:
        IngestionFailed: the container fails, or not one page was to be had.
    """
    return _Crawl(urls, container, limits, outbound, job, check, told, warn).run()


@dataclass(frozen=True, slots=True)
class _Visit:
    url: str
    depth: int
    asks_canonical: bool = True
    """Whether it counts what the page calls its own address."""
    instead_of: str | None = None
    """The page that calls this address its own; it is taken itself where this one is not there."""


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """What nobody foresaw is one page's failure, and not the crawl's."""
    try:
        yield
    except NotFetched:
        raise
    except Exception as error:
        _log.exception("a page cannot be taken", url=url.partition("?")[0])
        why = f"taking it failed for an internal error ({type(error).__name__})"
        raise NotFetched(why, is_final=False) from error


class _Crawl:
    def __init__(
        self,
        urls: Sequence[str],
        container: Container,
        limits: CrawlLimits,
        outbound: OutboundSettings,
        job: str,
        check: Callable[[], None],
        told: Callable[[Crawled], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._container = container
        self._limits = limits
        self._outbound = outbound
        self._job = job
        self._check = check
        self._told = told
        self._warn = warn
        self._urls = urls
        self._until = time.monotonic() + limits.seconds
        self._stopped = threading.Event()
        self._robots = Robots(limits.download_seconds, self._pause)
        self._before: dict[str, Item] = {}
        self._kept: set[str] = set()
        self._queue: deque[_Visit] = deque()
        self._seen: set[str] = set()
        self._most_seen = min(max(_KNOWN, _KNOWN_A_FILE * limits.files), _MOST_KNOWN)
        self._taken: set[str] = set()
        self._bodies: set[str] = set()
        self._sites: set[tuple[str, int | None]] = set()
        self._saved, self._unchanged, self._warnings = 0, 0, 0
        self._is_complete = True
        self._reasons: list[str] = []

    def run(self) -> Crawled:
        if self._limits.file_bytes > MOST_FILE_BYTES:
            raise IngestionFailed(
                f"`maxFileSize` is {self._limits.file_bytes}; a crawl takes pages of up to "
                f"{MOST_FILE_BYTES} bytes."
            )
        keys: list[str] = []
        for number, item in enumerate(self._container.list()):
            if number % _CHECKED_ITEMS == 0:
                self._check()
                if time.monotonic() > self._until or len(keys) > _MOST_KNOWN:
                    raise IngestionFailed("The container of the pages has too much in it to crawl.")
            if item.more.get("job") == self._job and "sha256" in item.more:
                self._before[item.url] = item
                keys.append(item.key)
        self._seed()
        with self._threads() as threads:
            self._work(threads)
        self._check()
        if not self._saved + self._unchanged:
            raise self._failed()
        if not self._is_complete:
            return self._so_far()
        gone = [key for key in keys if key not in self._kept]
        return Crawled(
            self._saved, self._unchanged, len(self._seen), is_complete=True, gone=tuple(gone)
        )

    def _seed(self) -> None:
        for url in self._urls:
            one = normalised(url)
            if one is None:
                self._skip(url, "it is no http or https address, or holds a password")
                continue
            self._sites.add(site(one))
            self._see(_Visit(one, 0))

    def _work(self, threads: "Threads[_Visit, Fetched]") -> None:
        """Fetch ahead in the queue's order, take in that order."""
        ahead = max(2, min(_AHEAD, _HELD_BYTES // max(self._limits.file_bytes, 1)))
        running: deque[Outcome[_Visit, Fetched]] = deque()
        while self._queue or running:
            self._check()
            if time.monotonic() > self._until:
                self._cut(f"the crawl took longer than {self._limits.seconds / 60:g} minutes")
                return
            left = self._limits.files - self._saved - self._unchanged
            while self._queue and len(running) < min(ahead, left):
                visit = self._queue.popleft()
                if visit.url not in self._taken:
                    running.append(threads.give(visit))
            if not running and all(visit.url in self._taken for visit in self._queue):
                return
            if not running:
                self._cut(f"the crawl has its {self._limits.files} files")
                return
            if running[0].wait(_LOOK_SECONDS) and time.monotonic() <= self._until:
                self._take(running.popleft())
                self._told(self._so_far())

    def _take(self, outcome: Outcome[_Visit, Fetched]) -> None:
        visit = outcome.asked
        try:
            fetched = outcome.result()
            with _alone(fetched.url):
                markup = Markup() if fetched.is_unchanged else markup_of(fetched)
        except NotFetched as failure:
            self._miss(visit, failure)
            return
        if fetched.url in self._taken:  # by a redirect, here or before
            return
        self._taken.add(fetched.url)
        if fetched.is_unchanged:
            self._take_unchanged(visit, self._before[fetched.url])
        else:
            self._take_new(visit, fetched, markup)

    def _take_unchanged(self, visit: _Visit, item: Item) -> None:
        self._keep(item)
        self._bodies.add(item.more["sha256"])
        markup = self._saved_markup(item) if visit.depth < self._limits.depth else None
        if markup is not None:
            self._follow(visit, markup)

    def _take_new(self, visit: _Visit, fetched: Fetched, markup: Markup) -> None:
        canonical = markup.canonical
        is_other = canonical is not None and canonical != fetched.url
        if is_other and visit.asks_canonical and self._is_of_site(canonical or ""):
            self._see(_Visit(canonical or "", visit.depth, False, instead_of=fetched.url))
            return
        self._follow(visit, markup)
        digest = hashlib.sha256(fetched.body).hexdigest()
        if not markup.is_indexed:
            self._skip(fetched.url, "it asks robots not to index it")
            return
        if digest in self._bodies:
            return
        self._bodies.add(digest)
        page = page_of(fetched, markup, job=self._job, digest=digest)
        before = self._before.get(page.url)
        if before is not None and before.key == page.key and before.more.get("sha256") == digest:
            self._keep(before)
            return
        self._container.write(page)
        self._saved += 1
        self._kept.add(page.key)

    def _miss(self, visit: _Visit, failure: NotFetched) -> None:
        """Take in that a page was not had; one that may come again stays as it was saved.

        Where it begins, anything but a clear word may be a fault that passes.
        """
        if visit.url in self._taken:  # by a redirect, meanwhile
            return
        self._taken.add(visit.url)
        self._skip(visit.url, str(failure))
        if visit.instead_of is not None:
            self._taken.discard(visit.instead_of)
            self._queue.append(_Visit(visit.instead_of, visit.depth, asks_canonical=False))
        before = self._before.get(visit.url)
        if failure.is_gone or (failure.is_final and visit.depth):
            return
        if before is None:
            self._is_complete = False
            return
        self._keep(before)
        markup = self._saved_markup(before)
        if markup is not None:
            self._follow(visit, markup)

    def _keep(self, item: Item) -> None:
        self._unchanged += 1
        self._kept.add(item.key)

    def _follow(self, visit: _Visit, markup: Markup) -> None:
        if visit.depth >= self._limits.depth or not markup.is_followed:
            return
        for link in markup.links:
            if self._is_of_site(link) and may_be_document(link):
                self._see(_Visit(link, visit.depth + 1))

    def _see(self, visit: _Visit) -> None:
        if visit.url in self._seen:
            return
        if len(self._seen) >= self._most_seen:
            self._is_complete = False
            return
        self._seen.add(visit.url)
        self._queue.append(visit)

    def _is_of_site(self, url: str) -> bool:
        return site(url) in self._sites

    def _skip(self, url: str, why: str) -> None:
        self._note(f"{url}: {why.rstrip('.')}.")
        self._warnings += 1
        if self._warnings < _WARNINGS:
            self._warn(url, f"The page was not fetched: {why.rstrip('.')}.")
        elif self._warnings == _WARNINGS:
            self._warn(url, "More pages were not fetched; they are not told any more.")

    def _cut(self, why: str) -> None:
        self._is_complete = False
        self._note(f"{why}.")
        self._warn(self._urls[0], f"Not all pages were fetched: {why}.")

    def _note(self, why: str) -> None:
        if len(self._reasons) < _REASONS:
            self._reasons.append(why)

    def _failed(self) -> IngestionFailed:
        first = self._reasons[0] if self._reasons else "no address to begin from holds one."
        inner = self._reasons if len(self._reasons) > 1 else ()
        return IngestionFailed(f"Not one page could be fetched: {first}", inner)

    def _so_far(self) -> Crawled:
        return Crawled(self._saved, self._unchanged, len(self._seen))

    def _saved_markup(self, item: Item) -> Markup | None:
        """The links of a page as they were saved; None where it has none, or is gone."""
        if not item.key.endswith(".html"):
            return None
        body = io.BytesIO()
        try:
            self._container.read(item, body, MOST_FILE_BYTES)
            with _alone(item.url):
                return saved_markup(item, body.getvalue())
        except (DocumentFailed, NotFetched):
            self._is_complete = False
            return None

    @contextmanager
    def _threads(self) -> "Iterator[Threads[_Visit, Fetched]]":
        """Threads that fetch; however the block ends, they end by themselves soon after."""
        fetcher = Fetcher(self._outbound, self._stopped.is_set)
        threads: Threads[_Visit, Fetched] = Threads(
            min(_THREADS, self._limits.files),
            lambda visit: self._fetch(visit, fetcher),
            fetcher.close,
        )
        try:
            yield threads
        finally:
            self._stopped.set()
            threads.dismiss()

    def _fetch(self, visit: _Visit, fetcher: Fetcher) -> Fetched:
        """Fetch one page; in a thread."""

        def check(url: str) -> None:
            if self._stopped.is_set():
                raise NotFetched("the crawl was stopped", is_final=False)
            if not self._is_of_site(url):
                raise NotFetched("it redirects to another site", is_final=True)
            self._robots.admit(url, fetcher)

        limits = self._limits
        left = max(self._until - time.monotonic(), 0.001)
        with _alone(visit.url):
            return fetcher.fetch(
                visit.url,
                Limits(min(limits.download_seconds, left), limits.file_bytes, limits.redirects),
                check=check,
                conditions=self._conditions,
            )

    def _conditions(self, url: str) -> Mapping[str, str]:
        item = self._before.get(url)
        return {} if item is None else conditions(item)

    def _pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)
