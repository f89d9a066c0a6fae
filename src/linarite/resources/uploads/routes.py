"""The contract's operations on uploads."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import JSON_OF_UPLOADS, json_body
from linarite.http.links import link
from linarite.http.multipart import Form
from linarite.http.wiring import part
from linarite.resources.uploads.service import Uploads
from linarite.wire.uploads import UploadFileCompleteBody, UploadFileStartBody

router = APIRouter()

UploadsPart = Annotated[Uploads, Depends(part(Uploads))]


@router.post("/uploads", name="UploadFile_Start")
def start_upload(
    request: Request,
    uploads: UploadsPart,
    resource: Resource,
    body: Annotated[UploadFileStartBody, json_body(UploadFileStartBody, JSON_OF_UPLOADS)],
) -> Response:
    """Open an upload."""
    upload = uploads.start(resource, body)
    return answer(upload.to_wire(), 200, {"Location": link(request, f"/uploads/{upload.id}")})


@router.post("/uploads/{upload_id}/parts", name="UploadFile_Part")
async def add_part(
    upload_id: str, request: Request, uploads: UploadsPart, resource: Resource
) -> Response:
    """Take one part as it streams in."""
    upload = await run_in_threadpool(uploads.get_open, resource, upload_id)
    form = Form(request)
    sent = await form.file("data")
    pieces = uploads.part_meter(upload).counted(sent.pieces)
    stored = await uploads.blobs.write(pieces, digest=False)  # a part's own is never asked for
    try:
        await form.finish()
    except BaseException:
        uploads.blobs.delete([stored.extent.key])
        raise
    added = await run_in_threadpool(uploads.add_part, resource, upload_id, stored)
    return answer(added.to_wire())


@router.post("/uploads/{upload_id}/complete", name="UploadFile_Complete")
def complete_upload(
    upload_id: str,
    uploads: UploadsPart,
    resource: Resource,
    body: Annotated[UploadFileCompleteBody, json_body(UploadFileCompleteBody, JSON_OF_UPLOADS)],
) -> Response:
    """Make a file of an upload's parts."""
    upload, file = uploads.complete(resource, upload_id, body)
    return answer(upload.to_wire(file.to_wire()))


@router.post("/uploads/{upload_id}/cancel", name="UploadFile_Cancel")
def cancel_upload(upload_id: str, uploads: UploadsPart, resource: Resource) -> Response:
    """End an upload without a file."""
    return answer(uploads.cancel(resource, upload_id).to_wire())
