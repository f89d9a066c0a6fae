"""The embedded indexes, at the addresses that Azure AI Search has them: ``/indexes…``.

One route for all of them: the dialect tells its operations apart itself, as it serves clients in
this process, too.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from linarite.http.auth import Resource
from linarite.http.bodies import read_body
from linarite.http.links import root
from linarite.http.wiring import part
from linarite.indexing.search import MOST_BYTES
from linarite.resources.indexes.service import Indexes

router = APIRouter()

IndexesPart = Annotated[Indexes, Depends(part(Indexes))]


async def _body(request: Request) -> bytes:
    if request.method in {"POST", "PUT"}:
        return await read_body(request, limit=MOST_BYTES)
    return b""


@router.api_route(
    "/indexes{operation:path}", methods=["GET", "POST", "PUT", "DELETE"], name="Indexes"
)
@router.get("/servicestats", name="Indexes_Statistics")
async def answer(
    request: Request,
    indexes: IndexesPart,
    resource: Resource,
    body: Annotated[bytes, Depends(_body)],
) -> Response:
    """Answer in Azure AI Search's REST dialect."""
    answered = await indexes.answer_in_thread(
        resource,
        request.method,
        request.scope["path"],
        parameters=dict(request.query_params),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        base_url=root(request),
    )
    return Response(answered.body, answered.status, headers=dict(answered.headers))
