"""The contract's operations on stored completions, and their export."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from linarite.errors import Fault, InvalidPayload
from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import AUTHORING_BYTES, json_body, parse_json, read_body, validated
from linarite.http.links import link
from linarite.http.metadata import check_metadata
from linarite.http.pages import Page, page_query
from linarite.http.wiring import part
from linarite.resources.stored_completions.exporting import Exports
from linarite.resources.stored_completions.filters import metadata_pairs
from linarite.resources.stored_completions.service import StoredCompletions, Wanted
from linarite.wire.stored_completions import (
    StoredCompletionDelete,
    StoredCompletionExport,
    StoredCompletionList,
    StoredCompletionMessages,
    StoredCompletionResponse,
    UpdateStoredCompletionRequest,
)

router = APIRouter()

StoredPart = Annotated[StoredCompletions, Depends(part(StoredCompletions))]
ExportsPart = Annotated[Exports, Depends(part(Exports))]

_ON_A_PAGE = 20
_MOST = 100
_SHOWN = 80


async def _update(request: Request) -> UpdateStoredCompletionRequest:
    """The body of StoredCompletion_Update, which may have metadata and nothing else."""
    body = parse_json(await read_body(request, limit=AUTHORING_BYTES))
    if isinstance(body, dict):
        check_metadata(body.get("metadata"))
        faults = [
            Fault(f"$.{key[:_SHOWN]}", f"`{key[:_SHOWN]}` cannot be changed; only `metadata` can.")
            for key in body
            if key != "metadata"
        ]
        if faults:
            raise InvalidPayload(faults[0].message, target=faults[0].target, faults=faults)
    return validated(UpdateStoredCompletionRequest, body)


# Clients made with `azure_deployment=` ask for the list under it.
@router.get(
    "/deployments/{deployment_id:path}/chat/completions", name="StoredCompletion_List_of_deployment"
)
@router.get("/chat/completions", name="StoredCompletion_List")
def list_stored_completions(
    request: Request,
    stored: StoredPart,
    resource: Resource,
    page: Annotated[Page, Depends(page_query(_ON_A_PAGE, _MOST))],
    metadata: Annotated[list[str] | None, Query()] = None,
    model: Annotated[str | None, Query()] = None,
) -> Response:
    """List the caller's stored completions."""
    del metadata  # declared here, and read with those that have their key in their name
    wanted = Wanted(metadata_pairs(request.query_params.multi_items()), model)
    found, total = stored.page(resource, page, wanted)
    data = [record.to_wire() for record in found.items]
    return answer(
        StoredCompletionList(
            data=data,
            total=total,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=found.has_more,
        )
    )


@router.get("/chat/completions/{stored_completion_id}", name="StoredCompletion_Get")
def get_stored_completion(
    stored: StoredPart, resource: Resource, stored_completion_id: str
) -> Response:
    """Tell what was asked and answered."""
    record = stored.get(resource, stored_completion_id)
    return answer(StoredCompletionResponse(**record.fields()))


@router.post("/chat/completions/{stored_completion_id}", name="StoredCompletion_Update")
def update_stored_completion(
    stored: StoredPart,
    resource: Resource,
    stored_completion_id: str,
    body: Annotated[UpdateStoredCompletionRequest, Depends(_update)],
) -> Response:
    """Put metadata beside what there is."""
    return answer(stored.update(resource, stored_completion_id, body.metadata).to_wire())


@router.delete("/chat/completions/{stored_completion_id}", name="StoredCompletion_Delete")
def delete_stored_completion(
    stored: StoredPart, resource: Resource, stored_completion_id: str
) -> Response:
    """Delete a stored completion and its messages."""
    stored.delete(resource, stored_completion_id)
    return answer(StoredCompletionDelete(id=stored_completion_id))


@router.get(
    "/chat/completions/{stored_completion_id}/messages", name="StoredCompletion_GetMessages"
)
def get_stored_completion_messages(
    stored: StoredPart,
    resource: Resource,
    stored_completion_id: str,
    page: Annotated[Page, Depends(page_query(_ON_A_PAGE, _MOST, "asc"))],
) -> Response:
    """List what the model was sent, oldest first."""
    found, total = stored.messages(resource, stored_completion_id, page)
    return answer(
        StoredCompletionMessages(
            data=list(found.items),
            total=total,
            first_id=found.items[0].id if found.items else None,
            last_id=found.items[-1].id if found.items else None,
            has_more=found.has_more,
        )
    )


@router.post("/stored_completions/export", name="StoredCompletion_Export", status_code=201)
def export_stored_completions(
    request: Request,
    exports: ExportsPart,
    resource: Resource,
    body: Annotated[StoredCompletionExport, json_body(StoredCompletionExport)],
) -> Response:
    """Note a training file that is to be made of stored completions; beyond the contract."""
    record = exports.start(resource, body)
    return answer(record.to_wire(), 201, {"Location": link(request, f"/files/{record.id}")})
