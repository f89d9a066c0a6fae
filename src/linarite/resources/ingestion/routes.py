"""The contract's operations on ingestion jobs, and cancelling, deleting and retrying beyond it."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import json_body
from linarite.http.links import link
from linarite.http.pages import Listed, Page, page_query
from linarite.http.wiring import part
from linarite.resources.ingestion.listing import ListedDocument
from linarite.resources.ingestion.records import JobRecord, Run
from linarite.resources.ingestion.service import Ingestion
from linarite.wire.ingestion import (
    IngestionDocumentList,
    IngestionJob,
    IngestionJobList,
    IngestionJobRunList,
)

router = APIRouter()

IngestionPart = Annotated[Ingestion, Depends(part(Ingestion))]

_PAGE, _MOST = 100, 1000
"""How many are on a page that asks for no number, and at most."""

WantedPage = Annotated[Page, Depends(page_query(_PAGE, _MOST))]


@router.get("/ingestion/jobs", name="IngestionJobs_List")
def list_jobs(
    request: Request, jobs: IngestionPart, resource: Resource, page: WantedPage
) -> Response:
    """List the caller's jobs, newest first."""
    found = jobs.page(resource, page)
    value = [record.to_wire() for record in found.items]
    return answer(IngestionJobList(value=value, next_link=_next(request, found, page)))


@router.put("/ingestion/jobs/{job_id}", name="IngestionJobs_Create")
def put_job(
    request: Request,
    jobs: IngestionPart,
    resource: Resource,
    job_id: str,
    body: Annotated[IngestionJob, json_body(IngestionJob)],
) -> Response:
    """Make a job or change one, and start a run of it."""
    job, run = jobs.put(resource, job_id, body)
    return answer(job, headers={"operation-location": _run_link(request, run)})


@router.get("/ingestion/jobs/{job_id}", name="IngestionJobs_Get")
def get_job(jobs: IngestionPart, resource: Resource, job_id: str) -> Response:
    """Tell what a job is, without its secrets."""
    return answer(jobs.get(resource, job_id))


@router.delete("/ingestion/jobs/{job_id}", name="IngestionJobs_Delete", status_code=204)
def delete_job(jobs: IngestionPart, resource: Resource, job_id: str) -> Response:
    """Remove a job and what it put into its index; beyond the contract."""
    jobs.delete(resource, job_id)
    return Response(status_code=204)


@router.post("/ingestion/jobs/{job_id}/retry-failed", name="IngestionJobs_RetryFailed")
def retry_failed(
    request: Request, jobs: IngestionPart, resource: Resource, job_id: str
) -> Response:
    """Start a run that tries the documents again that failed; beyond the contract."""
    run = jobs.retry_failed(resource, job_id)
    return answer(run.to_wire(), headers={"operation-location": _run_link(request, run)})


@router.get("/ingestion/jobs/{job_id}/runs", name="IngestionJobRuns_List")
def list_runs(
    request: Request, jobs: IngestionPart, resource: Resource, job_id: str, page: WantedPage
) -> Response:
    """List a job's runs, newest first."""
    found = jobs.runs(resource, job_id, page)
    value = [run.to_wire() for run in found.items]
    return answer(IngestionJobRunList(value=value, next_link=_next(request, found, page)))


@router.get("/ingestion/jobs/{job_id}/runs/{run_id}", name="IngestionJobRuns_Get")
def get_run(jobs: IngestionPart, resource: Resource, job_id: str, run_id: str) -> Response:
    """Tell how a run stands."""
    return answer(jobs.run(resource, job_id, run_id))


@router.post("/ingestion/jobs/{job_id}/runs/{run_id}/cancel", name="IngestionJobRuns_Cancel")
def cancel_run(jobs: IngestionPart, resource: Resource, job_id: str, run_id: str) -> Response:
    """End a run early; beyond the contract."""
    return answer(jobs.cancel(resource, job_id, run_id))


@router.get("/ingestion/jobs/{job_id}/documents", name="IngestionJobs_ListDocuments")
def list_documents(
    request: Request,
    jobs: IngestionPart,
    resource: Resource,
    job_id: str,
    page: Annotated[Page, Depends(page_query(_PAGE, _MOST, "asc"))],
    state: str | None = None,
) -> Response:
    """List a job's documents as they were found, with what became of them; beyond the contract."""
    found = jobs.documents(resource, job_id, page, state)
    value = [document.to_wire() for document in found.items]
    kept = {} if state is None else {"state": state}
    return answer(IngestionDocumentList(value=value, next_link=_next(request, found, page, **kept)))


def _run_link(request: Request, run: Run) -> str:
    path = f"/ingestion/jobs/{run.job_id}/runs/{run.id}"
    return link(request, path) + _query(request, {})


def _next(
    request: Request,
    found: Listed[JobRecord] | Listed[Run] | Listed[ListedDocument],
    page: Page,
    **kept: str,
) -> str | None:
    """Where the next page is, with `kept` in its query; None on the last one."""
    if not found.has_more:
        return None
    path = request.url.path.removeprefix("/openai/v1").removeprefix("/openai")
    order = "desc" if page.descending else "asc"
    wanted = {"after": found.items[-1].id, "limit": str(page.limit), "order": order, **kept}
    return link(request, path) + _query(request, wanted)


def _query(request: Request, wanted: dict[str, str]) -> str:
    """A query string, with the version of the API where the caller gave one."""
    version = request.query_params.get("api-version")
    given = wanted if version is None else {"api-version": version, **wanted}
    return f"?{urlencode(given)}" if given else ""
