"""What an index may be, and what may become of one that is there."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from linarite.indexing.search.analyzers import ANALYZERS
from linarite.indexing.search.definition import (
    MOST_DIMENSIONS,
    STRINGS,
    VECTOR,
    IndexDefinition,
    IndexField,
    Similarity,
    VectorSearch,
)
from linarite.indexing.search.refusals import SearchRefused, bad_request

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?")
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")


def check_name(name: str) -> None:
    """Raise SearchRefused unless an index may be called `name`."""
    if not _NAME.fullmatch(name) or "--" in name:
        raise SearchRefused(
            "Invalid index name: Index name must only contain lowercase letters, digits or dashes, "
            "cannot start or end with dashes and is limited to 128 characters.",
            "InvalidName",
        )


def parsed(body: Any, name: str | None = None) -> IndexDefinition:
    """The index that a request's body defines, complete and sound.

    Args:
        body: what JSON gave.
        name: the index's, where the address tells it.

    Raises:
        SearchRefused: it is no definition, or of something that this index has not.
    """
    try:
        definition = IndexDefinition.model_validate(body)
    except ValidationError as error:
        raise bad_request(_told(error)) from None
    if name is not None and definition.name != name:
        raise bad_request(
            f"index : The name in the body is '{definition.name}', and the address says '{name}'."
        )
    check_name(definition.name)
    definition = definition.model_copy(
        update={
            "fields": [field.completed() for field in definition.fields],
            "semantic": definition.semantic or None,
            "similarity": definition.similarity or Similarity(),
            "etag": None,
            "context": None,
        }
    )
    _check(definition)
    return definition


def _told(error: ValidationError) -> str:
    said = []
    for one in error.errors(include_url=False, include_input=False)[:5]:
        at = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            said.append(f"The property '{at}' is not known here.")
        else:
            said.append(f"'{at}': {one['msg'].removeprefix('Value error, ')}.")
    return "index : " + " ".join(said)


def _check(definition: IndexDefinition) -> None:
    seen: set[str] = set()
    for field in definition.fields:
        if field.name.lower() in seen:
            raise _bad_field(field, "There is a field of that name, letters' case apart, already.")
        seen.add(field.name.lower())
        _check_field(field)
        if field.is_vector:
            _check_profile(definition, field)
    keys = [field for field in definition.fields if field.key]
    if len(keys) != 1:
        raise bad_request(f"index : The index must have exactly one key field; it has {len(keys)}.")
    if keys[0].type != "Edm.String" or not keys[0].retrievable:
        raise _bad_field(keys[0], "The key must be a retrievable Edm.String.")
    _check_semantic(definition)
    _check_algorithms(definition)


def _check_field(field: IndexField) -> None:
    if not _FIELD_NAME.fullmatch(field.name) or field.name.lower().startswith("azuresearch"):
        raise _bad_field(
            field,
            "A name begins with a letter (and not with 'azureSearch'), holds letters, digits and "
            "underscores, and has at most 128 characters.",
        )
    if field.searchable and field.type not in ("Edm.String", STRINGS, VECTOR):
        raise _bad_field(field, f"A field of the type {field.type} cannot be searchable.")
    if field.sortable and (field.is_collection or field.is_vector):
        raise _bad_field(field, "A collection cannot be sortable.")
    _check_analyzers(field)
    if field.is_vector:
        _check_vector(field)
    elif field.dimensions is not None or field.vector_search_profile is not None:
        raise _bad_field(
            field, f"'dimensions' and 'vectorSearchProfile' are for the type {VECTOR}."
        )
    elif field.stored is False:
        raise _bad_field(field, "'stored' can only be false for vector fields.")


def _check_analyzers(field: IndexField) -> None:
    given = {name for name in (field.analyzer, field.index_analyzer, field.search_analyzer) if name}
    if not given:
        return
    if not field.is_searched_by_text:
        raise _bad_field(field, "Only a searchable text field has an analyzer.")
    if len(given) > 1:
        raise _bad_field(field, "Documents and queries are analyzed alike: name one analyzer.")
    if not given <= ANALYZERS.keys():
        raise _bad_field(
            field,
            f"The analyzer '{given.pop()}' is not one of this index; it has "
            f"{', '.join(sorted(ANALYZERS))}.",
        )


def _check_vector(field: IndexField) -> None:
    if field.dimensions is None or field.vector_search_profile is None:
        raise _bad_field(field, "A vector field needs 'dimensions' and a 'vectorSearchProfile'.")
    if not 2 <= field.dimensions <= MOST_DIMENSIONS:
        raise _bad_field(field, f"'dimensions' must be between 2 and {MOST_DIMENSIONS}.")
    if not field.searchable or field.filterable or field.facetable or field.key:
        raise _bad_field(
            field, "A vector field must be searchable, and not filterable, facetable or the key."
        )
    if field.stored is False and field.retrievable:
        raise _bad_field(field, "A field that is not 'stored' cannot be retrievable.")


def _check_profile(definition: IndexDefinition, field: IndexField) -> None:
    search = definition.vector_search or VectorSearch()
    if field.vector_search_profile not in {each.name for each in search.profiles or ()}:
        raise _bad_field(
            field, f"There is no vector search profile '{field.vector_search_profile}'."
        )


def _check_semantic(definition: IndexDefinition) -> None:
    semantic = definition.semantic
    if semantic is None:
        return
    default = semantic.default_configuration
    if default is not None and default not in semantic.names:
        raise bad_request(f"index : There is no semantic configuration '{default}'.")
    for each in semantic.configurations or ():
        fields = each.prioritized_fields
        named = [
            *([fields.title_field] if fields.title_field else []),
            *(fields.prioritized_content_fields or ()),
            *(fields.prioritized_keywords_fields or ()),
        ]
        for one in named:
            if one.field_name not in definition.by_name:
                raise bad_request(
                    f"index : The semantic configuration '{each.name}' names the field "
                    f"'{one.field_name}', which the index has not."
                )


def _check_algorithms(definition: IndexDefinition) -> None:
    search = definition.vector_search or VectorSearch()
    algorithms = [each.name for each in search.algorithms or ()]
    profiles = [each.name for each in search.profiles or ()]
    if len(set(algorithms)) < len(algorithms) or len(set(profiles)) < len(profiles):
        raise bad_request("index : Two profiles or algorithms of 'vectorSearch' have one name.")
    for profile in search.profiles or ():
        if profile.algorithm not in algorithms:
            raise bad_request(
                f"index : The profile '{profile.name}' names the algorithm "
                f"'{profile.algorithm}', which is not there."
            )


def _bad_field(field: IndexField, reason: str) -> SearchRefused:
    return SearchRefused(
        f"The request is invalid. Details: The definition of the field '{field.name[:128]}' is "
        f"not valid. {reason}",
        "InvalidField",
    )


def check_change(old: IndexDefinition, new: IndexDefinition) -> Sequence[IndexField]:
    """The fields that `new` adds.

    Raises:
        SearchRefused: it changes what cannot be changed once there are documents.
    """
    for field in old.fields:
        now = new.by_name.get(field.name)
        if now is None:
            raise _not_allowed(
                f"Existing field '{field.name}' cannot be deleted.", "CannotDeleteExistingField"
            )
        if _fixed(field) != _fixed(now) or (
            field.is_vector and old.metric(field) != new.metric(now)
        ):
            raise _not_allowed(
                f"Existing field '{field.name}' cannot be changed.", "CannotChangeExistingField"
            )
    return [field for field in new.fields if field.name not in old.by_name]


def _fixed(field: IndexField) -> IndexField:
    analyzer = field.analyzer or field.index_analyzer or field.search_analyzer
    return field.model_copy(
        update={
            "retrievable": None,
            "analyzer": analyzer or "standard.lucene",
            "index_analyzer": None,
            "search_analyzer": None,
        }
    )


def _not_allowed(message: str, code: str) -> SearchRefused:
    return SearchRefused(message, "OperationNotAllowed", [(code, message)])
