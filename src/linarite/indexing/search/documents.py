"""A batch of documents to upload, merge or delete, and what became of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lancedb.table import Table

from linarite.indexing.search.definition import IndexDefinition
from linarite.indexing.search.filters import is_one_of
from linarite.indexing.search.refusals import SearchRefused, bad_request
from linarite.indexing.search.schema import (
    Document,
    WrongValue,
    arrow_schema,
    checked,
    table,
)
from linarite.indexing.search.tending import fragments

MOST_DOCUMENTS = 1000
_KEYS_COPIED = 32_000
"""Lance copies a condition for each fragment: so many keys in all copies take some 15 MB."""
_ACTION = "@search.action"
_KEY = re.compile(r"[A-Za-z0-9_\-=]{1,1024}")
_ACTIONS = frozenset({"upload", "merge", "mergeOrUpload", "delete"})


@dataclass(frozen=True)
class Action:
    """One document of a batch, as the request has it."""

    kind: str
    key: str
    values: Document


@dataclass
class Outcome:
    """What became of one document."""

    key: str
    status: int
    message: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "status": self.status < 300,
            "errorMessage": self.message,
            "statusCode": self.status,
        }


def actions(body: Any, definition: IndexDefinition) -> list[Action]:
    """The documents of a request.

    Raises:
        SearchRefused: it is no batch, or a document has no key or a property that is no field.
    """
    documents = body.get("value") if isinstance(body, dict) else None
    if not isinstance(documents, list):
        raise bad_request("The body must be an object with an array 'value'.")
    if not documents:
        raise bad_request("No indexing actions found in the request.")
    if len(documents) > MOST_DOCUMENTS:
        raise bad_request(
            f"There are {len(documents)} documents in the request; {MOST_DOCUMENTS} are the most."
        )
    return [_action(each, definition) for each in documents]


def _action(document: Any, definition: IndexDefinition) -> Action:
    if not isinstance(document, dict):
        raise bad_request("A document must be an object.")
    kind = document.pop(_ACTION, "upload")
    if not isinstance(kind, str) or kind not in _ACTIONS:
        raise bad_request(f"'{str(kind)[:40]}' is no '{_ACTION}'.")
    unknown = document.keys() - definition.by_name.keys()
    if unknown:
        raise bad_request(
            f"The property '{min(unknown)[:128]}' does not exist on type 'search.documentFields'. "
            "Make sure to only use property names that are defined by the type."
        )
    key = document.get(definition.key)
    if not isinstance(key, str) or not key:
        raise bad_request("The document key cannot be missing or empty.")
    if not _KEY.fullmatch(key):
        raise SearchRefused(
            f"Invalid document key: '{key[:100]}'. Keys can only contain letters, digits, "
            "underscore (_), dash (-), or equal sign (=), and have at most 1024 of them. If the "
            "keys in your source data contain other characters, we recommend encoding them with a "
            "URL-safe version of Base64 before uploading them to your index.",
            "InvalidDocumentKey",
        )
    return Action(kind, key, document)


def perform(
    batch: Sequence[Action], documents: Table, definition: IndexDefinition
) -> list[Outcome]:
    """Do what a batch says, in its order; the caller is the only one that writes.

    When this returns, every document whose outcome is no failure is stored and found.
    """
    kept = _Kept(batch, documents, definition)
    outcomes = [kept.take(action) for action in batch]
    rows, gone = kept.changes()
    if rows and kept.has_any_of(rows):
        # without the index of the keys, by which it takes five times as long
        upsert = documents.merge_insert(definition.key).use_index(False).when_matched_update_all()
        upsert.when_not_matched_insert_all().execute(table(definition, rows))
    elif rows:  # nothing to compare with, which takes more time and memory the larger an index is
        documents.add(table(definition, rows))
    if gone:
        documents.delete(is_one_of(definition.key, gone))
    return outcomes


class _Kept:
    """What the documents of a batch are, from before it on."""

    def __init__(
        self, batch: Sequence[Action], documents: Table, definition: IndexDefinition
    ) -> None:
        self._definition = definition
        merges = any(action.kind.startswith("merge") for action in batch)
        keys = list(dict.fromkeys(action.key for action in batch))
        columns = arrow_schema(definition).names if merges else [definition.key]
        self._before: dict[str, Document] = {}
        at_once = max(1, _KEYS_COPIED // max(1, fragments(documents)))
        for start in range(0, len(keys), at_once):
            some = keys[start : start + at_once]
            query = documents.search().where(is_one_of(definition.key, some)).select(columns)
            before = query.limit(len(some)).to_arrow()
            self._before |= {row[definition.key]: row for row in before.to_pylist()}
        self._now: dict[str, Document | None] = {}

    def take(self, action: Action) -> Outcome:
        """Change one document, or say why not."""
        old = self._now.get(action.key, self._before.get(action.key))
        if action.kind == "delete":
            self._now[action.key] = None
            return Outcome(action.key, 200)
        if action.kind == "merge" and old is None:
            return Outcome(action.key, 404, "Document not found.")
        try:
            row = self._row(action.values)
        except WrongValue as error:
            return Outcome(action.key, 400, str(error))
        merges = action.kind != "upload" and old is not None
        self._now[action.key] = {**(old or {}), **row} if merges else row
        return Outcome(action.key, 201 if old is None else 200)

    def has_any_of(self, rows: Sequence[Document]) -> bool:
        """Whether one of them was there before."""
        return any(row[self._definition.key] in self._before for row in rows)

    def changes(self) -> tuple[list[Document], list[str]]:
        """The rows to store, and the keys of those to remove."""
        rows = [row for row in self._now.values() if row is not None]
        gone = [key for key, row in self._now.items() if row is None and key in self._before]
        return rows, gone

    def _row(self, values: Document) -> Document:
        fields = self._definition.by_name
        return {name: checked(fields[name], value) for name, value in values.items()}
