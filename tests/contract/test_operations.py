"""Each of the contract's 33 operations has a route of its name, with its parameters and success.

Read from the routers as the app includes them, under both bases.
"""

from typing import Any

import pytest
from fastapi import params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from tests.contract.checker import OPERATIONS, Operation
from tests.support.server import Server

from linarite.app import AUTHORING

PAGED_BEYOND_THE_CONTRACT = {
    "Files_List": {"after", "limit", "order"},
    "Batch_List": {"order"},
    "FineTuning_List": {"order"},
    "FineTuning_GetEvents": {"order"},
    "FineTuning_GetCheckpoints": {"order"},
    "IngestionJobs_List": {"after", "limit", "order"},
    "IngestionJobRuns_List": {"after", "limit", "order"},
}
"""Query parameters that clients send, or a `nextLink` says, and the contract does not declare."""

ROUTES: dict[str, RouteContext] = {
    str(route.name): route
    for router in AUTHORING
    for route in iter_route_contexts(router.routes)
    if isinstance(route.original_route, APIRoute) and route.name in OPERATIONS
}


def parameters(route: RouteContext, kind: type[params.Param]) -> dict[str, Any]:
    """The parameters of a route that stand in one place, by the name they have on the wire."""
    return {
        field.alias: field.field_info
        for field in get_flat_params(route.dependant)
        if isinstance(field.field_info, kind)
    }


def template(operation: Operation) -> str:
    """The operation's path with names that Python can bear."""
    head, *rest = operation.path.split("{")
    return head + "".join("{" + part.replace("-", "_", part.index("}")) for part in rest)


def test_every_operation_has_a_route():
    assert set(OPERATIONS) - set(ROUTES) == set()
    assert len(OPERATIONS) == 33


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_route_has_its_operations_method_and_path(name):
    assert ROUTES[name].methods == {OPERATIONS[name].method}
    # a model's id may hold slashes
    assert ROUTES[name].path.replace(":path", "") == template(OPERATIONS[name])


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_route_has_its_operations_query_parameters(name):
    declared = set(OPERATIONS[name].parameters("query")) - {"api-version"}  # read at the edge

    read = set(parameters(ROUTES[name], params.Query))

    assert read == declared | PAGED_BEYOND_THE_CONTRACT.get(name, set())


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_route_succeeds_as_its_operation(name):
    assert (ROUTES[name].status_code or 200) in OPERATIONS[name].successes


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_is_reached(shared_server: Server, name: str):
    operation = OPERATIONS[name]

    with shared_server.client() as client:
        answer = client.request(operation.method, "/openai" + template(operation))

    assert answer.status_code not in {405, 501}
    assert answer.json().get("error", {}).get("code") != "404"
