"""Whether this process lives, and whether it can serve."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from linarite.http.wiring import part
from linarite.storage.database import Database

router = APIRouter()


@router.api_route("/healthz", methods=["GET", "HEAD"], name="healthz")
async def healthz() -> Response:
    """200 as long as the process answers at all."""
    return Response("ok\n", media_type="text/plain")


@router.api_route("/readyz", methods=["GET", "HEAD"], name="readyz")
def readyz(database: Annotated[Database, Depends(part(Database))]) -> Response:
    """200 when the database answers and is of this version, else the error that says why not."""
    database.check_version()
    return Response("ready\n", media_type="text/plain")
