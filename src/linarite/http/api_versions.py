"""The `api-version` that every call of the contract carries; ``/openai/v1`` has none."""

import re
from datetime import date
from typing import Annotated

from fastapi import Query

from linarite.errors import ApiVersionNotSupported, ResourceNotFound

_FORM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-preview)?")


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
    if not is_api_version(api_version):
        raise ApiVersionNotSupported(target="api-version")


def is_api_version(text: str) -> bool:
    """Whether `text` is a day of the calendar, with ``-preview`` behind it or without."""
    form = _FORM.fullmatch(text)
    try:
        return form is not None and bool(date.fromisoformat(form[1]))
    except ValueError:  # such as the 30th of February
        return False
