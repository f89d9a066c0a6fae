"""The contract's operations on batches."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import AUTHORING_BYTES, parse_json, read_body, validated
from linarite.http.metadata import check_metadata
from linarite.http.pages import Page, page_query
from linarite.http.wiring import part
from linarite.resources.batches.records import EnqueuedTokens
from linarite.resources.batches.service import Batches
from linarite.wire.batches import BatchCreateRequest, BatchesList

router = APIRouter()

BatchesPart = Annotated[Batches, Depends(part(Batches))]

_ON_A_PAGE = 20
_MOST = 100


async def _creation(request: Request) -> BatchCreateRequest:
    """The body of Batch_Create; metadata is refused in OpenAI's words."""
    body = parse_json(await read_body(request, limit=AUTHORING_BYTES))
    if isinstance(body, dict):
        check_metadata(body.get("metadata"))
    return validated(BatchCreateRequest, body)


@router.get("/batches", name="Batch_List")
def list_batches(
    batches: BatchesPart,
    resource: Resource,
    page: Annotated[Page, Depends(page_query(_ON_A_PAGE, _MOST))],
    filter_text: Annotated[str | None, Query(alias="$filter")] = None,
    orderby: Annotated[str | None, Query(alias="$orderby")] = None,
) -> Response:
    """List the caller's batches."""
    found, tokens = batches.page(resource, page, filter_text=filter_text, orderby=orderby)
    data = [record.to_wire() for record in found.items]
    listed = BatchesList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=found.has_more,
    )
    return answer(listed, headers=_token_headers(tokens))


@router.post("/batches", name="Batch_Create", status_code=201)
def create_batch(
    batches: BatchesPart,
    resource: Resource,
    body: Annotated[BatchCreateRequest, Depends(_creation)],
) -> Response:
    """Queue a batch over an uploaded file."""
    record, tokens = batches.create(resource, body)
    return answer(record.to_wire(), 201, headers=_token_headers(tokens))


@router.get("/batches/{batch_id}", name="Batch_Get")
def get_batch(batches: BatchesPart, resource: Resource, batch_id: str) -> Response:
    """Tell how a batch stands."""
    return answer(batches.get(resource, batch_id).to_wire())


@router.post("/batches/{batch_id}/cancel", name="Batch_Cancel")
def cancel_batch(batches: BatchesPart, resource: Resource, batch_id: str) -> Response:
    """End a batch early; what is answered stays in its files."""
    return answer(batches.cancel(resource, batch_id).to_wire())


def _token_headers(tokens: EnqueuedTokens | None) -> dict[str, Any]:
    """What the deployment in view has enqueued, as far as one is in view."""
    if tokens is None:
        return {}
    return {
        "deployment-enqueued-tokens": str(tokens.enqueued),
        "deployment-maximum-enqueued-tokens": str(tokens.limit),
    }
