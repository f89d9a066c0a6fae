"""The stages of a run once it has ended."""

import pytest
from tests.support.ingestion_jobs import dataset, pages, storage, user_pages

from linarite.resources.ingestion.records import Run, Trigger, first_stages
from linarite.wire.ingestion import IngestionJob
from linarite.wire.ingestion import OperationState as S


def run(*states):
    inner = [{"name": "Cracking", "state": "running"}]
    stages = [{"name": f"{n}", "state": state} for n, state in enumerate(states)]
    stages[0]["subStageProgress"] = inner
    told = (Trigger.PUT, S.RUNNING, stages, None, 1, 0, 2, None, None)
    return Run(1, "run", 1, "job", "default", *told)


@pytest.mark.parametrize(
    ("end", "states"),
    [
        (S.SUCCEEDED, [S.SUCCEEDED, S.SUCCEEDED, S.SUCCEEDED, S.FAILED]),
        (S.FAILED, [S.SUCCEEDED, S.FAILED, S.NOT_RUNNING, S.FAILED]),
    ],
)
def test_no_stage_is_left_running(end, states):
    ended = run("succeeded", "running", "notRunning", "failed").ended(end)

    assert [stage["state"] for stage in ended] == states
    assert ended[0]["subStageProgress"][0]["state"] == end


@pytest.mark.parametrize(
    ("job", "crawls"),
    [(storage(), False), (dataset(), False), (pages(), True), (user_pages(), True)],
)
def test_only_a_crawl_has_a_stage_of_it(job, crawls):
    names = [stage.name for stage in first_stages(IngestionJob.model_validate(job))]

    assert names == ["Crawling"] * crawls + ["Preprocessing", "Indexing"]
