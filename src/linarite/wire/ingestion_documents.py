"""The documents of an ingestion job as they travel; beyond the contract."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from linarite.wire.shapes import Outgoing


class _Told(Outgoing):
    """What there is not is left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )

    def to_json(self) -> bytes:
        """The object as compact UTF-8 JSON, without nulls."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class IngestionDocument(_Told):
    """What is known of one document.

    `chunks` of it are in the index. `error` is why it could not be ingested, `settled_at` (Unix
    seconds) and `run_id` tell when and by which run it was settled last.
    """

    id: str
    filepath: str
    url: str | None = None
    title: str | None = None
    bytes: int
    state: Literal["pending", "indexed", "failed"]
    chunks: int
    error: str | None = None
    run_id: str | None = None
    settled_at: int | None = None


class IngestionDocumentList(_Told):
    """A page of documents; `next_link` leads to the next."""

    value: list[IngestionDocument]
    next_link: str | None = None
