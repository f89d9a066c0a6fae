"""The contract's operations on tuning jobs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import json_body
from linarite.http.links import link
from linarite.http.pages import Page, page_query
from linarite.http.wiring import part
from linarite.resources.fine_tuning.service import FineTuning
from linarite.wire.fine_tuning import (
    FineTuningJobCheckpointList,
    FineTuningJobCreation,
    FineTuningJobEventList,
    FineTuningJobList,
)

router = APIRouter()

FineTuningPart = Annotated[FineTuning, Depends(part(FineTuning))]

_JOBS, _EVENTS, _CHECKPOINTS = 20, 20, 10
"""How many are on a page that asks for no number."""
_MOST = 100
_MOST_EVENTS = 1000


@router.get("/fine_tuning/jobs", name="FineTuning_List")
def list_jobs(
    jobs: FineTuningPart,
    resource: Resource,
    page: Annotated[Page, Depends(page_query(_JOBS, _MOST))],
) -> Response:
    """List the caller's jobs, newest first."""
    found = jobs.page(resource, page)
    data = [record.to_wire() for record in found.items]
    return answer(FineTuningJobList(data=data, has_more=found.has_more))


@router.post("/fine_tuning/jobs", name="FineTuning_Create", status_code=201)
def create_job(
    request: Request,
    jobs: FineTuningPart,
    resource: Resource,
    body: Annotated[FineTuningJobCreation, json_body(FineTuningJobCreation)],
) -> Response:
    """Queue a job that tunes a model."""
    job = jobs.create(resource, body)
    location = link(request, f"/fine_tuning/jobs/{job.id}")
    return answer(job.to_wire(), 201, {"Location": location})


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}", name="FineTuning_Get")
def get_job(jobs: FineTuningPart, resource: Resource, fine_tuning_job_id: str) -> Response:
    """Tell how a job stands."""
    return answer(jobs.get(resource, fine_tuning_job_id).to_wire())


@router.delete("/fine_tuning/jobs/{fine_tuning_job_id}", name="FineTuning_Delete", status_code=204)
def delete_job(jobs: FineTuningPart, resource: Resource, fine_tuning_job_id: str) -> Response:
    """Remove a job that has ended, and the models that it made."""
    jobs.delete(resource, fine_tuning_job_id)
    return Response(status_code=204)


@router.post("/fine_tuning/jobs/{fine_tuning_job_id}/cancel", name="FineTuning_Cancel")
def cancel_job(jobs: FineTuningPart, resource: Resource, fine_tuning_job_id: str) -> Response:
    """End a job early; the checkpoints of finished epochs stay."""
    return answer(jobs.cancel(resource, fine_tuning_job_id).to_wire())


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints", name="FineTuning_GetCheckpoints")
def list_checkpoints(
    jobs: FineTuningPart,
    resource: Resource,
    fine_tuning_job_id: str,
    page: Annotated[Page, Depends(page_query(_CHECKPOINTS, _MOST))],
) -> Response:
    """List a job's checkpoints, newest first."""
    job, found = jobs.checkpoints(resource, fine_tuning_job_id, page)
    data = [record.to_wire(job) for record in found.items]
    return answer(FineTuningJobCheckpointList(data=data, has_more=found.has_more))


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}/events", name="FineTuning_GetEvents")
def list_events(
    jobs: FineTuningPart,
    resource: Resource,
    fine_tuning_job_id: str,
    page: Annotated[Page, Depends(page_query(_EVENTS, _MOST_EVENTS))],
) -> Response:
    """List a job's events, newest first."""
    found = jobs.events(resource, fine_tuning_job_id, page)
    data = [record.to_wire() for record in found.items]
    return answer(FineTuningJobEventList(data=data, has_more=found.has_more))


@router.get("/fine_tuning/models/{model_id:path}/content", name="FineTuning_GetModelContent")
def get_model_content(
    jobs: FineTuningPart, resource: Resource, model_id: str, form: str = "adapter"
) -> Response:
    """Download a tuned model or checkpoint; beyond the contract."""
    made = jobs.download(resource, model_id, form)
    headers = {
        "Content-Disposition": f'attachment; filename="{made.filename}"',
        "Content-Length": str(made.length),
    }
    return StreamingResponse(made.pieces, headers=headers, media_type="application/octet-stream")
