"""A small app behind the real edge, for what no operation of the service would show alone."""

import ipaddress
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from linarite.http import errors
from linarite.http.edge import Edge


def small_app(*, public_url: str | None = None, trusted: str | None = None) -> FastAPI:
    """An app without routes that answers errors as the service does."""
    app = FastAPI(redirect_slashes=False, openapi_url=None)
    errors.install(app)
    app.state.json_body_bytes = 10_000
    app.state.public_url = public_url
    app.state.trusted_proxies = [ipaddress.ip_network(trusted)] if trusted else []
    return app


def client_of(app: FastAPI, **edge: Any) -> TestClient:
    """A client of `app` behind an edge made with the options `edge`."""
    return TestClient(Edge(app, **{"region": "here"} | edge))
