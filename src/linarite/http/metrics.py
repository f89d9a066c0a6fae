"""How many requests there were, how long they took, and what others add, for Prometheus."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linarite.http.auth import authenticate
from linarite.http.wiring import part

router = APIRouter()


class Metrics:
    """What this process counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "linarite_http_requests",
            "Requests answered.",
            ["operation", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "linarite_http_request_seconds",
            "Time from a request to the last byte of its answer.",
            ["operation"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
        )
        self.stored_completions = Counter(
            "linarite_stored_completions",
            "Chats that asked to be stored, by whether they were.",
            ["outcome"],
            registry=self.registry,
        )
        self.rate_limited = Counter(
            "linarite_rate_limited_requests",
            "Requests refused by a deployment's rate limit, by which: requests or tokens.",
            ["operation", "limit"],
            registry=self.registry,
        )
        self.content_filter = Counter(
            "linarite_content_filter_checks",
            "Prompts and answers that the content filter was asked about.",
            ["subject", "outcome"],
            registry=self.registry,
        )

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Add a figure that is asked for whenever the figures are."""
        Gauge(name, words, registry=self.registry).set_function(value)


class Measured:
    """ASGI layer that counts and times every request by its operation.

    Args:
        app: what stands behind it.
        metrics: where the figures go.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "none"

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            operation = getattr(scope.get("route"), "name", "unknown")
            self._metrics.requests.labels(operation, status).inc()
            self._metrics.seconds.labels(operation).observe(time.perf_counter() - began)


@router.get("/metrics", dependencies=[Depends(authenticate)], name="metrics")
def metrics(metrics: Annotated[Metrics, Depends(part(Metrics))]) -> Response:
    """The figures in Prometheus's text form; wants the key, as every other path does."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
