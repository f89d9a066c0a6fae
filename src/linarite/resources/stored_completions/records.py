"""A stored completion before it has a row, and as one; and the marks that it is found by."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from linarite.wire.stored_completions import StoredCompletion

_WORTH_COMPRESSING = 2_048


@dataclass(frozen=True, slots=True)
class NewCompletion:
    """A completion that is to be stored.

    Args:
        id: as the answer says it.
        model: id of the model that answered.
        deployment: the name that was asked.
        created: Unix seconds, as the answer says it.
        metadata: the caller's.
        completion: JSON of a `StoredCompletion` without its metadata.
        messages: JSON of the request's messages.
    """

    id: str
    model: str
    deployment: str
    created: int
    metadata: Mapping[str, str]
    completion: bytes
    messages: bytes


@dataclass(frozen=True)
class StoredRecord:
    """One row of `stored_completions`, but for its messages."""

    seq: int
    id: str
    resource: str
    model: str
    deployment: str
    created: int
    stored_bytes: int
    metadata: dict[str, str]
    completion: bytes

    def fields(self) -> dict[str, Any]:
        """Every field of its wire object."""
        return {**orjson.loads(unpack(self.completion)), "metadata": self.metadata}

    def to_wire(self) -> StoredCompletion:
        """The contract's StoredCompletion."""
        return StoredCompletion(**self.fields())


def marks_of(
    resource: str, model: str, deployment: str, metadata: Mapping[str, str]
) -> frozenset[bytes]:
    """The marks that a completion is found by."""
    by_name = {name_mark(resource, name) for name in (model, deployment)}
    return frozenset(by_name | metadata_marks(resource, metadata))


def metadata_marks(resource: str, metadata: Mapping[str, str]) -> set[bytes]:
    """The marks of metadata alone."""
    return {pair_mark(resource, key, value) for key, value in metadata.items()}


def pair_mark(resource: str, key: str, value: str) -> bytes:
    """The mark of the completions of `resource` with that metadata."""
    return _mark(resource, "metadata", key, value)


def name_mark(resource: str, name: str) -> bytes:
    """The mark of the completions of `resource` whose model or deployment has that name."""
    return _mark(resource, "model", name)


def _mark(*parts: str) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).digest()


def pack(json: bytes) -> bytes:
    """`json` as it is stored."""
    return zlib.compress(json, 1) if len(json) > _WORTH_COMPRESSING else json


def unpack(stored: bytes) -> bytes:
    """The JSON that `pack` stored: an object or a list, as which zlib never begins."""
    return stored if stored[:1] in {b"{", b"["} else zlib.decompress(stored)
