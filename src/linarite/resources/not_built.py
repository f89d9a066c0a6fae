"""Operations of the contract that later versions build; each answers 501 in the contract's form.

One line an operation, so that what is missing can be read off, and a test compares this list with
the contract.
"""

from fastapi import APIRouter

from linarite.errors import NotBuilt

NOT_BUILT = (
    ("GET", "/chat/completions", "StoredCompletion_List"),
    ("GET", "/chat/completions/{stored_completion_id}", "StoredCompletion_Get"),
    ("POST", "/chat/completions/{stored_completion_id}", "StoredCompletion_Update"),
    ("DELETE", "/chat/completions/{stored_completion_id}", "StoredCompletion_Delete"),
    ("GET", "/chat/completions/{stored_completion_id}/messages", "StoredCompletion_GetMessages"),
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

# Clients made with `azure_deployment=` ask for the list of stored completions under it.
router.add_api_route(
    "/deployments/{deployment_id:path}/chat/completions",
    _refuse,
    methods=["GET"],
    name="StoredCompletion_List_of_deployment",
)
