"""Lists by keyset: `after`, `limit`, `order`, and what stands in the answer of a page.

A page never counts what lies before it, so that the thousandth costs what the first costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

import sqlalchemy as sa
from fastapi import Query

from linarite.errors import InvalidPayload

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """What a caller asked for: up to `limit` items that follow the item `after`."""

    limit: int
    after: str | None = None
    descending: bool = True


@dataclass(frozen=True)
class Listed(Generic[T]):
    """One page of records and whether more follow."""

    items: Sequence[T]
    has_more: bool


def page_query(
    default_limit: int, max_limit: int, order: Literal["asc", "desc"] = "desc"
) -> Callable[..., object]:
    """A dependency that reads `after`, `limit` and `order` from the query string.

    Args:
        default_limit: items when no limit is given.
        max_limit: the largest limit that is taken.
        order: by creation, when the caller does not say; newest first by default.
    """

    async def read(
        after: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=max_limit)] = default_limit,
        order: Annotated[Literal["asc", "desc"], Query()] = order,
    ) -> Page:
        return Page(limit, after, order == "desc")

    return read


def keyset(query: sa.Select[T], seq: sa.Column[int], page: Page, after: int | None) -> sa.Select[T]:
    """`query` cut to a page in the order of `seq`; one row more than the limit tells `has_more`.

    Args:
        query: a select over one resource's rows.
        seq: the column of creation order.
        page: what was asked for.
        after: the `seq` of the item `page.after`, or None for the first page.
    """
    if after is not None:
        query = query.where(seq < after if page.descending else seq > after)
    return query.order_by(seq.desc() if page.descending else seq).limit(page.limit + 1)


def listed(rows: Sequence[T], page: Page) -> Listed[T]:
    """The page that `keyset`'s rows make."""
    return Listed(rows[: page.limit], len(rows) > page.limit)


def unknown_after(after: str) -> InvalidPayload:
    """The refusal of an `after` that names nothing of this list."""
    return InvalidPayload(
        f"`after` is {after!r}, which is not an item of this list; "
        "pass the `last_id` of the page before.",
        target="after",
    )
