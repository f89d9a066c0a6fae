"""Requests to the embedded indexes and answers of theirs, and what all operations ask of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from linarite.indexing.search.refusals import (
    OfAnotherMaker,
    PreconditionFailed,
    TooLarge,
    bad_parameter,
    bad_request,
)
from linarite.indexing.search.store import Record

MOST_DEFINITION_BYTES = 4 << 20
JSON = {"content-type": "application/json; odata.metadata=minimal"}


@dataclass(frozen=True)
class SearchCall:
    """A request.

    Args:
        resource: whose indexes it is about.
        maker: who asks; empty: a caller of the API.
        method: such as ``GET``.
        path: percent-decoded, from ``/indexes`` or ``/servicestats`` on.
        parameters: those of the address; of one that is given twice the last.
        headers: by lower-case name.
        body: as it came.
        base_url: the address of the service, for links.
    """

    resource: str
    maker: str
    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str


@dataclass(frozen=True)
class SearchAnswer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def check_maker(call: SearchCall, record: Record) -> None:
    """Raise OfAnotherMaker unless the caller made the index."""
    if record.maker == call.maker:
        return
    who = f"the {record.maker}" if record.maker else "a caller of the API"
    raise OfAnotherMaker(
        f"The index '{record.definition.name}' was made by {who}, and only its maker changes it. "
        "It can be read and searched.",
        "OperationNotAllowed",
    )


def check_etag(call: SearchCall, record: Record) -> None:
    """Raise PreconditionFailed unless If-Match and If-None-Match hold."""
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if wanted is not None and wanted != "*" and record.etag not in _etags(wanted):
        raise changed(record.definition.name)
    if unwanted is not None and (unwanted == "*" or record.etag in _etags(unwanted)):
        raise changed(record.definition.name)


def _etags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def changed(name: str) -> PreconditionFailed:
    """The refusal of a precondition."""
    return PreconditionFailed(
        f"The precondition given in one of the request headers evaluated to false: the index "
        f"'{name}' is not as it says.",
        "PreconditionFailed",
    )


def read_body(call: SearchCall, most_bytes: int = MOST_DEFINITION_BYTES) -> Any:
    """The JSON of a body; raises TooLarge, and SearchRefused where it is none."""
    if len(call.body) > most_bytes:
        raise TooLarge(
            f"The request body is {len(call.body)} bytes; {most_bytes} is the most that is taken."
        )
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The body is not valid JSON: {error}.") from None


def only_parameters(call: SearchCall, *known: str) -> None:
    """Raise SearchRefused for a parameter of the address beside `known` ones."""
    unknown = call.parameters.keys() - {"api-version", *known}
    if unknown:
        name = min(unknown)
        raise bad_parameter(name[:128], f"The parameter '{name[:128]}' is not known here.")


def context(call: SearchCall, index: str, what: str) -> str:
    """What stands as `@odata.context` in answers about documents."""
    return f"{call.base_url}/indexes('{index}')/$metadata#{what}"


def json_answer(body: Mapping[str, Any], status: int = 200) -> SearchAnswer:
    """An answer with a JSON body."""
    return SearchAnswer(status, JSON, orjson.dumps(body))
