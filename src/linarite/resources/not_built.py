"""Operations of the contract that later versions build; each answers 501 in the contract's form.

One line an operation, so that what is missing can be read off, and a test compares this list with
the contract.
"""

from fastapi import APIRouter

from linarite.errors import NotBuilt

NOT_BUILT = (
    ("GET", "/ingestion/jobs", "IngestionJobs_List"),
    ("PUT", "/ingestion/jobs/{job_id}", "IngestionJobs_Create"),
    ("GET", "/ingestion/jobs/{job_id}", "IngestionJobs_Get"),
    ("GET", "/ingestion/jobs/{job_id}/runs", "IngestionJobRuns_List"),
    ("GET", "/ingestion/jobs/{job_id}/runs/{run_id}", "IngestionJobRuns_Get"),
)

router = APIRouter()


async def _refuse() -> None:
    raise NotBuilt


for _method, _path, _operation in NOT_BUILT:
    router.add_api_route(_path, _refuse, methods=[_method], name=_operation)
