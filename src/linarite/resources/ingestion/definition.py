"""From a job as it was asked for to what it comes to: ranges held, every name looked up.

It is done when a job is put, so that what cannot work is refused there, and again by every run,
for the operator may have changed an entry since. Knows no row; which deployments and indexes there
are is the service's to check.
"""

import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from pydantic.alias_generators import to_camel

from linarite.errors import InvalidPayload
from linarite.resources.ingestion import places
from linarite.resources.ingestion.places import Place
from linarite.resources.ingestion.specs import (
    CrawlSpec,
    OwnContainerSpec,
    Resolved,
    TargetSpec,
)
from linarite.settings import Settings
from linarite.wire.ingestion import (
    AzureAISearchIndex,
    ChunkingSettings,
    CompletionAction,
    CosmosDBIndex,
    CrawlingSettings,
    CustomCompute,
    IngestionJob,
    IngestionJobSystemCompute,
    IngestionJobUserCompute,
    JobCompute,
    PineconeIndex,
    ServerlessCompute,
    SystemComputeStorage,
    SystemComputeUrl,
    TargetIndex,
    UserComputeDataset,
    UserComputeUrl,
)
from linarite.wire.shapes import INT32_MAX

CHUNK_TOKENS = 1024
"""The longest chunk where a job says nothing of it."""

_CHUNK_RANGE = (16, 8192)
_MOST_URLS = 1000
_LONGEST_URL = 2048
_MOST_HOURS = INT32_MAX

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class _Limit:
    """One of the CrawlingSettings: what it is where nobody says, and its range."""

    usual: int
    least: int
    most: int


_CRAWLING = {
    "max_crawl_depth": _Limit(1, 0, 20),
    "max_crawl_time_in_mins": _Limit(60, 1, 1440),
    "max_download_time_in_mins": _Limit(1, 1, 60),
    "max_file_size": _Limit(5_000_000, 1, 100_000_000),  # the most a crawl takes
    "max_redirects": _Limit(3, 0, 20),
    "max_files": _Limit(1000, 1, 1_000_000),
}


def check_job_id(job_id: str) -> None:
    """Raise InvalidPayload unless a job may be called that."""
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidPayload(
            f"The job id is {job_id[:120]!r}; it may have up to 100 letters, digits, hyphens and "
            "underscores, and begins with a letter or digit.",
            target="job-id",
        )


def index_name(job_id: str) -> str:
    """What the index that a job fills is called."""
    return f"{job_id}-index".lower()


def refresh_hours(job: IngestionJob) -> int | None:
    """How many hours lie between the starts of runs; None: it is run when it is put, and no more.

    Raises:
        InvalidPayload: it is negative, or beyond all reason.
    """
    assert isinstance(job, IngestionJobSystemCompute | IngestionJobUserCompute)
    asked = job.data_refresh_interval_in_hours
    if asked is not None and not 0 <= asked <= _MOST_HOURS:
        raise InvalidPayload(
            f"`dataRefreshIntervalInHours` is {asked}; it must be a number of hours above 0, or 0 "
            "for a job that runs once.",
            target="$.dataRefreshIntervalInHours",
        )
    return asked or None


def resolve(settings: Settings, job: IngestionJob) -> Resolved:
    """What the job comes to.

    Args:
        settings: where the operator's names are.
        job: with its `job_id`.

    Raises:
        InvalidPayload: something is out of its range, is not taken here, or names nothing; its
            target is where.
    """
    match job:
        case IngestionJobSystemCompute():
            return _of_system_compute(settings, job)
        case IngestionJobUserCompute():
            return _of_user_compute(settings, job)
    raise AssertionError(job.kind)


def _of_system_compute(settings: Settings, job: IngestionJobSystemCompute) -> Resolved:
    source, at = job.datasource, Place(settings, "$.datasource")
    if not isinstance(source, SystemComputeStorage | SystemComputeUrl):
        _refuse_missing(at)
    crawl = None
    if isinstance(source, SystemComputeUrl):
        crawl = _crawl(at, source.urls, source.crawling)
    target = Place(settings, "$.searchServiceConnection")
    return Resolved(
        container=places.container(at.of("connection"), source.connection, source.container_name),
        crawl=crawl,
        embedding=places.embedding(at.of("embeddings"), source.embeddings),
        target=places.search_index(
            target, job.search_service_connection, index_name(job.job_id or "")
        ),
        chunk_tokens=_chunk_tokens(at, source.chunking),
        parallel=settings.ingestion.parallel,
        clean_up=job.completion_action == CompletionAction.CLEAN_UP_TEMP_ASSETS,
    )


def _of_user_compute(settings: Settings, job: IngestionJobUserCompute) -> Resolved:
    source, at = job.datasource, Place(settings, "$.datasource")
    index = index_name(job.job_id or "")
    crawl = None
    match source:
        case UserComputeDataset():
            container = places.dataset(at, source.dataset_id, source.dataset_type)
        case UserComputeUrl():
            crawl = _crawl(at, source.urls, source.crawling)
            container = OwnContainerSpec(f"webpage-{index}")
        case _:
            _refuse_missing(at)
    return Resolved(
        container=container,
        crawl=crawl,
        embedding=places.workspace_embedding(at.of("embeddings"), source.embeddings or ()),
        target=_target(Place(settings, "$.target"), job.target, index),
        chunk_tokens=_chunk_tokens(at, source.chunking),
        parallel=_parallel(Place(settings, "$.compute"), job.compute),
        clean_up=False,
    )


def _target(at: Place, target: TargetIndex | None, index: str) -> TargetSpec:
    match target:
        case AzureAISearchIndex():
            return places.named_search_index(at.of("connectionId"), target.connection_id, index)
        case CosmosDBIndex():
            return places.cosmos_index(at, target, index)
        case PineconeIndex():
            return places.pinecone_index(at, target, index)
    return places.search_index(at, None, index)


def _parallel(at: Place, compute: JobCompute | None) -> int:
    settings = at.settings.ingestion
    match compute:
        case CustomCompute():
            return places.compute(at.of("computeId"), compute.compute_id)
        case ServerlessCompute(instance_count=int(asked)):
            if not 1 <= asked <= settings.most_parallel:
                at.of("instanceCount").refuse(
                    f"`instanceCount` is {asked}; it must be between 1 and "
                    f"{settings.most_parallel}."
                )
            return asked
    return settings.parallel


def _crawl(at: Place, urls: list[str], asked: CrawlingSettings | None) -> CrawlSpec:
    if not 1 <= len(urls) <= _MOST_URLS:
        at.of("urls").refuse(f"There are {len(urls)} `urls`; give between 1 and {_MOST_URLS:,}.")
    for number, url in enumerate(urls):
        if not _is_page(url):
            at.of("urls").of(number).refuse(
                "An address to crawl from must be a whole http or https URL without user, of up "
                f"to {_LONGEST_URL:,} characters."
            )
    limits = {name: _limit(at.of("crawling"), asked, name) for name in _CRAWLING}
    return CrawlSpec(
        urls=tuple(dict.fromkeys(urls)),
        max_depth=limits["max_crawl_depth"],
        max_seconds=60 * limits["max_crawl_time_in_mins"],
        max_download_seconds=60 * limits["max_download_time_in_mins"],
        max_file_bytes=limits["max_file_size"],
        max_redirects=limits["max_redirects"],
        max_files=limits["max_files"],
    )


def _limit(at: Place, asked: CrawlingSettings | None, name: str) -> int:
    limit = _CRAWLING[name]
    value: int | None = getattr(asked, name, None)
    if value is None:
        return limit.usual
    if not limit.least <= value <= limit.most:
        member = to_camel(name)
        at.of(member).refuse(
            f"`{member}` is {value}; it must be between {limit.least} and {limit.most}."
        )
    return value


def _chunk_tokens(at: Place, asked: ChunkingSettings | None) -> int:
    least, most = _CHUNK_RANGE
    tokens = None if asked is None else asked.max_chunk_size_in_tokens
    if tokens is not None and not least <= tokens <= most:
        at.of("chunking").of("maxChunkSizeInTokens").refuse(
            f"`maxChunkSizeInTokens` is {tokens}; it must be between {least} and {most}."
        )
    return tokens or CHUNK_TOKENS


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(is_whole) and parts.username is None and len(url) <= _LONGEST_URL


def _refuse_missing(at: Place) -> NoReturn:
    at.refuse("`datasource` is required: a job without one has nothing to ingest.")
