"""The HTTP application: which router stands under which base path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from linarite import __version__
from linarite.bootstrap import Built
from linarite.dashboard import home
from linarite.engines.client import Engines
from linarite.engines.place import host_socket
from linarite.http import errors, health, metrics
from linarite.http.api_versions import check_api_version
from linarite.http.auth import authenticate
from linarite.http.edge import Edge
from linarite.resources.batches import routes as batches
from linarite.resources.deployments import arm
from linarite.resources.deployments import routes as deployments
from linarite.resources.deployments.service import Deployments
from linarite.resources.files import routes as files
from linarite.resources.fine_tuning import routes as fine_tuning
from linarite.resources.indexes import routes as indexes
from linarite.resources.inference import routes as inference
from linarite.resources.ingestion import routes as ingestion
from linarite.resources.models import routes as models
from linarite.resources.stored_completions import routes as stored_completions
from linarite.resources.stored_completions.writing import GroupWriter
from linarite.resources.uploads import routes as uploads
from linarite.settings import Settings

_AZURE_CUSTOM_HEADERS = 10

AUTHORING: tuple[APIRouter, ...] = (
    inference.router,  # first: a chat waits for every route that is tried before its own
    files.router,
    uploads.router,
    batches.router,
    fine_tuning.router,
    stored_completions.router,
    models.router,
    deployments.router,
    ingestion.router,
)
"""The contract's operations and those beside them, relative to their base."""


def create_app(built: Built) -> ASGIApp:
    """The application over `built`, ready for a server."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(built.parts[Deployments].sync)
        async with Engines(host_socket(built.settings.data)) as engines:
            app.state.engines = engines
            yield
        await built.parts[GroupWriter].close()

    app = FastAPI(
        title="Linarite",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    _set_state(app, built)
    errors.install(app)
    versioned = [Depends(authenticate), Depends(check_api_version)]
    v1 = [Depends(authenticate)]
    app.include_router(inference.plain_router, prefix="/openai/v1", dependencies=v1)
    for router in AUTHORING:
        # `/openai/v1` first: there `v1` is no part of a path of the other base
        app.include_router(router, prefix="/openai/v1", dependencies=v1)
        app.include_router(router, prefix="/openai", dependencies=versioned)
    app.include_router(arm.router, dependencies=versioned)
    app.include_router(indexes.router)  # whose own dialect says what a version is
    for router in (health.router, metrics.router, home.router):
        app.include_router(router, include_in_schema=False)
    return _edged(metrics.Measured(app, built.parts[metrics.Metrics]), built.settings)


def _edged(app: ASGIApp, settings: Settings) -> ASGIApp:
    server = settings.server
    return Edge(
        app,
        region=server.region,
        hosts=server.hosts,
        tls=server.tls is not None,
        custom_headers=_AZURE_CUSTOM_HEADERS if settings.limits.profile == "azure" else None,
    )


def _set_state(app: FastAPI, built: Built) -> None:
    state: Any = app.state
    server = built.settings.server
    state.parts = built.parts
    state.public_url = server.public_url.rstrip("/") if server.public_url else None
    state.trusted_proxies = server.trusted_proxies
    state.json_body_bytes = built.settings.limits.json_body_bytes
