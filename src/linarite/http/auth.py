"""Who calls: a key names the resource (the tenant) that every query is then bound to.

Keys are 256-bit secrets, stored as SHA-256 and found by that, so that no comparison tells how
close a guess was. A found key is remembered for a few seconds: a call then costs no query, and a
revoked key stops within them.
"""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from linarite.errors import Unauthorized
from linarite.http.wiring import part
from linarite.storage.database import Database, Transaction
from linarite.storage.tables import api_keys

_REMEMBER_SECONDS = 5.0
_REMEMBERED = 10_000


@dataclass
class Keys:
    """Which resource a key opens.

    Args:
        database: where the digests lie.
    """

    database: Database
    _known: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def resource_of(self, key: str) -> str:
        """The resource that `key` opens; raises Unauthorized when it opens none."""
        digest = _digest(key)
        known = self._known.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        resource = await run_in_threadpool(self._look_up, digest)
        if resource is None:
            self._known.pop(digest, None)
            raise _unauthorized()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = (resource, time.monotonic() + _REMEMBER_SECONDS)
        return resource

    def _look_up(self, digest: str) -> str | None:
        query = sa.select(api_keys.c.resource).where(api_keys.c.digest == digest)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()


def put_key(tx: Transaction, *, resource: str, name: str, key: str, now: int) -> None:
    """Let `key` open `resource`; it takes the place of the resource's key of the same name."""
    same = (api_keys.c.resource == resource) & (api_keys.c.name == name)
    digest = _digest(key)
    tx.execute(sa.delete(api_keys).where(same | (api_keys.c.digest == digest)))
    tx.execute(
        sa.insert(api_keys).values(
            digest=digest, resource=resource, name=name, prefix=key[:4], created_at=now
        )
    )


@dataclass(frozen=True)
class KeyRecord:
    """A key as far as the server knows it."""

    resource: str
    name: str
    prefix: str
    created_at: int


def list_keys(tx: Transaction, *, resource: str | None = None) -> list[KeyRecord]:
    """Every key, or a resource's, by resource and name."""
    columns = (api_keys.c.resource, api_keys.c.name, api_keys.c.prefix, api_keys.c.created_at)
    query = sa.select(*columns).order_by(api_keys.c.resource, api_keys.c.name)
    if resource is not None:
        query = query.where(api_keys.c.resource == resource)
    return [KeyRecord(*row) for row in tx.execute(query)]


def revoke_keys(tx: Transaction, *, resource: str, name: str | None = None) -> int:
    """Let a resource's key, or both, open nothing any more; how many there were."""
    query = sa.delete(api_keys).where(api_keys.c.resource == resource)
    if name is not None:
        query = query.where(api_keys.c.name == name)
    return tx.execute(query).rowcount


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_of(request: Request) -> str | None:
    """The key a request carries: `api-key` first, for older SDKs send a Bearer token beside it."""
    if key := request.headers.get("api-key"):
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def authenticate(request: Request, keys: Annotated[Keys, Depends(part(Keys))]) -> str:
    """The resource of the caller; raises Unauthorized."""
    key = key_of(request)
    if key is None:
        raise _unauthorized()
    return await keys.resource_of(key)


def _unauthorized() -> Unauthorized:
    return Unauthorized(headers={"www-authenticate": "Bearer"})


Resource = Annotated[str, Depends(authenticate)]
"""The caller's resource, as a parameter of an endpoint."""
