"""Lists by keyset: `after`, `limit`, `order`, and what stands in the answer of a page.

A page never counts what lies before it, so that the thousandth costs what the first costs.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import sqlalchemy as sa

from linarite.errors import InvalidPayload

T = TypeVar("T")
Order = Literal["asc", "desc"]


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


def page_query(default_limit: int, max_limit: int, order: Order = "desc") -> Callable[..., Any]:
    """A dependency that reads `after`, `limit` and `order` from the query string.

    Args:
        default_limit: items when no limit is given.
        max_limit: the largest limit that is taken.
        order: by creation, when the caller does not say; newest first by default.

    Raises (when the request is served):
        InvalidPayload: the limit or the order is none.
    """

    async def read(after: str | None = None, limit: str | None = None, order: str = order) -> Page:
        if order not in {"asc", "desc"}:
            raise InvalidPayload(
                f"`order` is {order[:40]!r}; it must be asc or desc.", target="order"
            )
        size = default_limit if limit is None else _limit(limit, max_limit)
        return Page(size, after or None, order == "desc")

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


def _limit(text: str, max_limit: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= max_limit:
        raise InvalidPayload(
            f"`limit` is {text[:40]!r}; it must be between 1 and {max_limit}.", target="limit"
        )
    return int(text)


def unknown_after(after: str) -> InvalidPayload:
    """The refusal of an `after` that names nothing of this list."""
    return InvalidPayload(
        f"`after` is {after[:100]!r}, which is not an item of this list; "
        "pass the `last_id` of the page before.",
        target="after",
    )
