"""How a route gets the service it speaks for: by its class, from the parts that bootstrap built."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


def part(kind: type[T]) -> Callable[[Request], Any]:
    """A dependency that gives the app's own `kind`, such as ``Depends(part(Files))``."""

    async def of_this_app(request: Request) -> T:
        return request.app.state.parts[kind]  # type: ignore[no-any-return]  # keyed by its own class

    return of_this_app


Parts = Mapping[type[Any], Any]
"""Every service and collaborator of an app, by its class."""
