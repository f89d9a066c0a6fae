"""The contract's operations on files."""

import re
from email.utils import formatdate
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from linarite.errors import InvalidPayload, RangeNotSatisfiable
from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import json_body
from linarite.http.links import link
from linarite.http.multipart import FilePart, Form
from linarite.http.pages import Page, page_query
from linarite.http.reading import read_ahead
from linarite.http.wiring import part
from linarite.resources.files.ranges import Unsatisfiable, attachment, is_known, wanted_span
from linarite.resources.files.rules import NewFile, check_name, lifetime_in, purpose_of
from linarite.resources.files.service import Files
from linarite.storage.blob_rows import Blob
from linarite.wire.files import (
    UPLOAD_FORM_PURPOSES,
    FileDelete,
    FileImport,
    FileList,
    Purpose,
)

router = APIRouter()

FilesPart = Annotated[Files, Depends(part(Files))]

_PURPOSES = frozenset(Purpose)
_MOST = 10_000
_FORM_BYTES = 64 << 10
_BYTES = "application/octet-stream"


@router.get("/files", name="Files_List")
def list_files(
    files: FilesPart,
    resource: Resource,
    page: Annotated[Page, Depends(page_query(_MOST, _MOST))],
    purpose: str | None = None,
) -> Response:
    """List the caller's files."""
    wanted = None if purpose is None else purpose_of(purpose, _PURPOSES)
    found = files.page(resource, wanted, page)
    data = [record.to_wire() for record in found.items]
    return answer(
        FileList(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=found.has_more,
        )
    )


@router.post("/files", name="Files_Upload", status_code=201)
async def upload_file(request: Request, files: FilesPart, resource: Resource) -> Response:
    """Take a file as it streams in; its purpose may stand before or after it in the form."""
    form = Form(request)
    sent = await form.file("file")
    early = _early_purpose(form, sent)
    await run_in_threadpool(files.check_room, resource, announced_bytes(request))
    stored = await files.blobs.write(files.meter(early).counted(sent.pieces))
    try:
        await form.finish()
        new = _new_file(resource, form, sent)
    except BaseException:
        files.blobs.delete([stored.extent.key])
        raise
    record = await run_in_threadpool(files.create, new, stored)
    return answer(record.to_wire(), 201, {"Location": link(request, f"/files/{record.id}")})


@router.post("/files/import", name="Files_Import", status_code=201)
def import_file(
    request: Request,
    files: FilesPart,
    resource: Resource,
    body: Annotated[FileImport, json_body(FileImport)],
) -> Response:
    """Note a file that lies elsewhere; a task fetches it."""
    record = files.start_import(resource, body)
    return answer(record.to_wire(), 201, {"Location": link(request, f"/files/{record.id}")})


@router.get("/files/{file_id}", name="Files_Get")
def get_file(file_id: str, files: FilesPart, resource: Resource) -> Response:
    """Give one file."""
    return answer(files.get(resource, file_id).to_wire())


@router.delete("/files/{file_id}", name="Files_Delete")
def delete_file(file_id: str, files: FilesPart, resource: Resource) -> Response:
    """Delete a file, whether or not work uses it."""
    files.delete(resource, file_id)
    return answer(FileDelete(id=file_id))


@router.get("/files/{file_id}/content", name="Files_GetContent")
def get_content(file_id: str, request: Request, files: FilesPart, resource: Resource) -> Response:
    """Stream what a file holds, or the part of it that `Range` names."""
    content = files.content(resource, file_id)
    headers = {"Content-Disposition": attachment(content.record.filename)}
    if content.blob is None:
        headers["Cache-Control"] = "no-store"
        return StreamingResponse(content.live or (), headers=headers, media_type=_BYTES)
    return _download(request, files, content.blob, content.record.created_at, headers)


def announced_bytes(request: Request) -> int:
    """About how many bytes a form brings, as its sender says; a form's own bytes do not count."""
    announced = request.headers.get("content-length", "")
    return max(int(announced) - _FORM_BYTES, 0) if re.fullmatch("[0-9]{1,18}", announced) else 0


def _early_purpose(form: Form, sent: FilePart) -> Purpose | None:
    """The purpose, when it stands before the file, which then is refused before it is read."""
    if not sent.content_type:
        raise InvalidPayload(
            "The file has no or an empty content type specified.", target="Content-Type"
        )
    if "purpose" not in form.fields:
        return None
    purpose = purpose_of(form.fields["purpose"], UPLOAD_FORM_PURPOSES)
    check_name(purpose, sent.filename)
    return purpose


def _new_file(resource: str, form: Form, sent: FilePart) -> NewFile:
    purpose = purpose_of(form.fields.get("purpose"), UPLOAD_FORM_PURPOSES)
    return NewFile(resource, purpose, sent.filename, lifetime_in(form.fields))


def _download(
    request: Request, files: Files, blob: Blob, created_at: int, headers: dict[str, str]
) -> Response:
    etag, modified = f'"{blob.id}"', formatdate(created_at, usegmt=True)
    headers |= {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
    if is_known(request.headers, etag):
        return Response(status_code=304, headers=headers)
    try:
        span = wanted_span(request.headers, blob.bytes, etag, modified)
    except Unsatisfiable:
        raise RangeNotSatisfiable(
            f"The content has {blob.bytes} bytes; the range asked for holds none of them.",
            headers={"Content-Range": f"bytes */{blob.bytes}"},
        ) from None
    start, end = (span.start, span.end) if span else (0, blob.bytes)
    headers["Content-Length"] = str(end - start)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.bytes}"
    return StreamingResponse(
        read_ahead(files.blobs.read(blob.extents, start, end)),
        status_code=206 if span else 200,
        headers=headers,
        media_type=_BYTES,
    )
