"""Secrets in a job's connections: hidden in every answer, and found again when it is put back.

A job that was got, changed and put says `***` where its secrets stand. Such a connection keeps
its secret if nothing else in it has changed, so that a secret is never sent to another address.
"""

from collections.abc import Callable

from linarite.errors import InvalidPayload
from linarite.wire.ingestion import (
    BaseConnection,
    ConnectionStringConnection,
    EndpointKeyConnection,
    IngestionJob,
    IngestionJobSystemCompute,
    SystemComputeDatasource,
    SystemComputeStorage,
    SystemComputeUrl,
)

MASK = "***"

_Change = Callable[[str, BaseConnection], BaseConnection]


def masked(job: IngestionJob) -> IngestionJob:
    """`job` without its secrets."""
    return _with_connections(job, lambda _, connection: _masked(connection))


def unmasked(job: IngestionJob, kept: IngestionJob | None) -> IngestionJob:
    """`job` with the secrets of `kept` where it says that they stay.

    Raises:
        InvalidPayload: a connection that keeps its secret was changed, or there is none to keep.
    """
    known: dict[str, BaseConnection] = {}
    if kept is not None:
        _with_connections(kept, known.setdefault)

    def find(path: str, connection: BaseConnection) -> BaseConnection:
        member = _secret_of(connection)
        if member is None or getattr(connection, member) != MASK:
            return connection
        old = known.get(path)
        if old is None or _masked(old) != connection:
            name = "key" if member == "key" else "connectionString"
            raise InvalidPayload(
                f"`{name}` is {MASK}, which keeps the secret of a connection that is otherwise "
                "unchanged, and this one is not; send the secret itself.",
                target=f"{path}.{name}",
            )
        return old

    return _with_connections(job, find)


def _secret_of(connection: BaseConnection) -> str | None:
    match connection:
        case EndpointKeyConnection():
            return "key"
        case ConnectionStringConnection():
            return "connection_string"
    return None


def _masked(connection: BaseConnection) -> BaseConnection:
    member = _secret_of(connection)
    return connection if member is None else connection.model_copy(update={member: MASK})


def _with_connections(job: IngestionJob, change: _Change) -> IngestionJob:
    """`job` with every connection changed; `change` is told where it stands."""
    if not isinstance(job, IngestionJobSystemCompute):
        return job  # a UserCompute job names its connections
    changes: dict[str, object] = {}
    if job.search_service_connection is not None:
        path = "$.searchServiceConnection"
        changes["search_service_connection"] = change(path, job.search_service_connection)
    if job.datasource is not None:
        changes["datasource"] = _in_datasource(job.datasource, change)
    return job.model_copy(update=changes)


def _in_datasource(source: SystemComputeDatasource, change: _Change) -> SystemComputeDatasource:
    assert isinstance(source, SystemComputeStorage | SystemComputeUrl)
    embeddings = [
        one
        if one.connection is None
        else one.model_copy(
            update={
                "connection": change(f"$.datasource.embeddings[{n}].connection", one.connection)
            }
        )
        for n, one in enumerate(source.embeddings)
    ]
    connection = change("$.datasource.connection", source.connection)
    return source.model_copy(update={"connection": connection, "embeddings": embeddings})
