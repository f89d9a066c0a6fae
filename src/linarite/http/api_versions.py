"""The `api-version` that every call of the contract carries; ``/openai/v1`` has none."""

import re
from typing import Annotated

from fastapi import Query

from linarite.errors import ApiVersionNotSupported, ResourceNotFound

_WELL_FORMED = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(-preview)?")


async def check_api_version(
    api_version: Annotated[str | None, Query(alias="api-version")] = None,
) -> None:
    """Take any well-formed version.

    Raises:
        ResourceNotFound: there is none, which is how the service has always answered that.
        ApiVersionNotSupported: it is no date, such as ``2025-02-01-preview``.
    """
    if not api_version:
        raise ResourceNotFound
    if not _WELL_FORMED.fullmatch(api_version):
        raise ApiVersionNotSupported(target="api-version")
