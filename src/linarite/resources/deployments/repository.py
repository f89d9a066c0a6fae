"""The SQL of deployments: one resource's own, and those of everyone beside them."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from linarite.resources.deployments.records import MINUTE, DeploymentRecord, RateWindow
from linarite.resources.models.records import EVERYONE
from linarite.storage.database import Transaction
from linarite.storage.tables import deployments, rate_windows
from linarite.wire.shapes import INT64_MAX

_COLUMNS = [column for column in deployments.c if column.name != "seq"]
_IS_NOW = f"abs(:now - rate_windows.began_at) < {MINUTE}"
# One statement, so that processes which ask at once cannot pass the limits together.
_SPEND = sa.text(
    "INSERT INTO rate_windows (resource, deployment, began_at, requests, tokens) "
    "VALUES (:resource, :deployment, :now, 1, :tokens) "
    "ON CONFLICT (resource, deployment) DO UPDATE SET "
    f"began_at = CASE WHEN {_IS_NOW} THEN rate_windows.began_at ELSE excluded.began_at END, "
    f"requests = CASE WHEN {_IS_NOW} THEN rate_windows.requests ELSE 0 END + 1, "
    f"tokens = CASE WHEN {_IS_NOW} THEN rate_windows.tokens ELSE 0 END + excluded.tokens "
    f"WHERE NOT {_IS_NOW} OR (rate_windows.requests < :most_requests "
    "AND rate_windows.tokens + excluded.tokens <= :most_tokens) "
    "RETURNING began_at, requests, tokens"
)


def insert(tx: Transaction, record: DeploymentRecord) -> None:
    """Add `record`; raises sqlalchemy's IntegrityError when its resource has that name already."""
    tx.execute(sa.insert(deployments).values(vars(record)))


def visible(connection: sa.Connection, resource: str) -> list[DeploymentRecord]:
    """What `resource` can use, oldest first; its own stand before everyone's of the same name."""
    query = sa.select(*_COLUMNS).where(_seen_by(resource)).order_by(deployments.c.seq)
    rows = [_record(row) for row in connection.execute(query).mappings()]
    own = {record.id for record in rows if not record.is_declared}
    return [record for record in rows if not (record.is_declared and record.id in own)]


def find(connection: sa.Connection, resource: str, name: str) -> DeploymentRecord | None:
    """The deployment that `name` means to `resource`: its own, else everyone's."""
    query = sa.select(*_COLUMNS).where(_seen_by(resource), deployments.c.id == name)
    rows = [_record(row) for row in connection.execute(query).mappings()]
    return min(rows, key=lambda record: record.is_declared, default=None)


def hold(tx: Transaction, resource: str, name: str) -> DeploymentRecord | None:
    """The deployment `name` of exactly `resource`, which nobody else changes until `tx` ends."""
    query = sa.select(*_COLUMNS).where(_is(resource, name)).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def of_model(connection: sa.Connection, resource: str, model: str) -> DeploymentRecord | None:
    """The oldest deployment of `model` that `resource` can use."""
    query = sa.select(*_COLUMNS).where(_seen_by(resource), deployments.c.model == model)
    row = connection.execute(query.order_by(deployments.c.seq).limit(1)).mappings().first()
    return None if row is None else _record(row)


def all_of_model(connection: sa.Connection, model: str) -> list[DeploymentRecord]:
    """Every deployment of `model`, whoever's, oldest first."""
    query = sa.select(*_COLUMNS).where(deployments.c.model == model).order_by(deployments.c.seq)
    return [_record(row) for row in connection.execute(query).mappings()]


def declared(connection: sa.Connection) -> dict[str, DeploymentRecord]:
    """Everyone's deployments by name."""
    query = sa.select(*_COLUMNS).where(deployments.c.resource == EVERYONE)
    return {row["id"]: _record(row) for row in connection.execute(query).mappings()}


def count(connection: sa.Connection, resource: str) -> int:
    """How many deployments `resource` made."""
    query = sa.select(sa.func.count()).where(deployments.c.resource == resource)
    return connection.execute(query).scalar_one()


def update(tx: Transaction, resource: str, name: str, changes: Mapping[str, Any]) -> bool:
    """Change the deployment `name` of exactly `resource`; whether there is one."""
    return (
        tx.execute(sa.update(deployments).where(_is(resource, name)).values(**changes)).rowcount
        == 1
    )


def delete(tx: Transaction, resource: str, name: str) -> bool:
    """Remove the deployment `name` of exactly `resource`, and its minute; whether it was there."""
    minute = (rate_windows.c.resource == resource) & (rate_windows.c.deployment == name)
    tx.execute(sa.delete(rate_windows).where(minute))
    return tx.execute(sa.delete(deployments).where(_is(resource, name))).rowcount == 1


def spend(
    tx: Transaction, deployment: DeploymentRecord, tokens: int, now: int
) -> tuple[RateWindow, bool]:
    """Count a request that may come to so many tokens, if the deployment's limits let it.

    Returns:
        The minute that it is in by then, and whether the request was counted.
    """
    requests_limit, tokens_limit = deployment.requests_per_minute, deployment.tokens_per_minute
    values = {
        "resource": deployment.resource,
        "deployment": deployment.id,
        "now": now,
        "tokens": tokens,
        "most_requests": INT64_MAX if requests_limit is None else requests_limit,
        "most_tokens": INT64_MAX if tokens_limit is None else tokens_limit,
    }
    row = tx.execute(_SPEND, values).one_or_none()
    if row is not None:
        return RateWindow(*row), True
    columns = rate_windows.c
    query = sa.select(columns.began_at, columns.requests, columns.tokens).where(
        rate_windows.c.resource == deployment.resource,
        rate_windows.c.deployment == deployment.id,
    )
    return RateWindow(*tx.execute(query).one()), False


def spend_more(
    tx: Transaction, deployment: DeploymentRecord, tokens: int, now: int
) -> RateWindow | None:
    """Count more tokens of a request that was let in; the minute, or None where it is over."""
    columns = rate_windows.c
    statement = (
        sa.update(rate_windows)
        .where(
            columns.resource == deployment.resource,
            columns.deployment == deployment.id,
            columns.began_at > now - MINUTE,
        )
        .values(tokens=columns.tokens + tokens)
        .returning(columns.began_at, columns.requests, columns.tokens)
    )
    row = tx.execute(statement).one_or_none()
    return None if row is None else RateWindow(*row)


def forget_windows(tx: Transaction, now: int) -> None:
    """Remove the minutes that are over, whosever they are."""
    tx.execute(sa.delete(rate_windows).where(rate_windows.c.began_at <= now - MINUTE))


def _seen_by(resource: str) -> sa.ColumnElement[bool]:
    return deployments.c.resource.in_((resource, EVERYONE))


def _is(resource: str, name: str) -> sa.ColumnElement[bool]:
    return (deployments.c.resource == resource) & (deployments.c.id == name)


def _record(row: sa.RowMapping) -> DeploymentRecord:
    return DeploymentRecord(**row)
