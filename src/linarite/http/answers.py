"""Answers whose body is a wire object."""

from collections.abc import Mapping

from fastapi import Response

from linarite.wire.shapes import Outgoing


def answer(body: Outgoing, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(
        body.to_json(), status, headers=dict(headers or {}), media_type="application/json"
    )
