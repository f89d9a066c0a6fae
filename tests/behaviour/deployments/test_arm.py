"""Deployments as Azure's own tools make them: the same rows, by Resource Manager's paths."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from tests.behaviour.deployments.conftest import MODELS
from tests.support.server import Server, running_server

from linarite.http.tls import self_signed

ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
WANTED: dict[str, Any] = {
    "sku": {"name": "GlobalStandard", "capacity": 2},
    "tags": {"team": "search"},
    "properties": {
        "model": {"format": "OpenAI", "name": "tiny", "version": "1"},
        "raiPolicyName": "Microsoft.Default",
    },
}


class StaticToken:
    """A credential whose token is the server's key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._key, int(time.time()) + 3600)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate of its own authority, and that authority."""
    folder = tmp_path_factory.mktemp("secured")
    tls = self_signed(folder / "tls", [])
    certificate = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    with running_server(
        folder / "data", options=certificate, server={"tls": "self-signed"}, models=MODELS
    ) as running:
        yield running, tls.authority


@pytest.fixture(scope="module")
def azure(secured: tuple[Server, Path]) -> Iterator[CognitiveServicesManagementClient]:
    """Azure's management library as it is, but for the address and who vouches for it."""
    server, authority = secured
    with CognitiveServicesManagementClient(
        StaticToken(server.key),
        "subscription",
        base_url=server.url,
        connection_verify=str(authority),
    ) as client:
        yield client


def test_azures_library_deploys_and_finds(azure: CognitiveServicesManagementClient):
    made = azure.deployments.begin_create_or_update("rg", "account", "made", WANTED).result()

    found = azure.deployments.get("rg", "account", "made")

    assert made.properties.provisioning_state == "Succeeded"
    assert (found.name, found.properties.model.name) == ("made", "tiny")
    assert (found.sku.name, found.sku.capacity) == ("GlobalStandard", 2)
    assert found.tags == {"team": "search"}
    assert found.id.endswith("/accounts/account/deployments/made")
    assert found.properties.capabilities["chatCompletion"] == "true"


def test_azures_library_lists(azure: CognitiveServicesManagementClient):
    azure.deployments.begin_create_or_update("rg", "account", "listed", WANTED).result()

    names = [one.name for one in azure.deployments.list("rg", "account")]

    assert {"listed", "tiny", "vectors"} <= set(names)


def test_azures_library_changes_price_tier_and_tags_alone(
    azure: CognitiveServicesManagementClient,
):
    azure.deployments.begin_create_or_update("rg", "account", "changed", WANTED).result()

    change = {"sku": {"name": "Standard", "capacity": 9}, "tags": {"team": "chat"}}
    azure.deployments.begin_update("rg", "account", "changed", change).result()

    found = azure.deployments.get("rg", "account", "changed")
    assert (found.sku.name, found.sku.capacity, found.tags) == ("Standard", 9, {"team": "chat"})
    assert found.properties.model.name == "tiny"
    assert found.properties.rai_policy_name == "Microsoft.Default"


def test_azures_library_removes_once_or_twice(azure: CognitiveServicesManagementClient):
    azure.deployments.begin_create_or_update("rg", "account", "removed", WANTED).result()

    for _ in range(2):
        azure.deployments.begin_delete("rg", "account", "removed").result()

    with pytest.raises(ResourceNotFoundError):
        azure.deployments.get("rg", "account", "removed")


def test_an_account_says_where_it_is_reached(
    azure: CognitiveServicesManagementClient, secured: tuple[Server, Path]
):
    account = azure.accounts.get("rg", "any-name")

    assert account.properties.endpoint == f"{secured[0].url}/"
    assert (account.name, account.kind) == ("any-name", "OpenAI")


def put(caller: httpx.Client, name: str = "by-arm", **changes: Any) -> httpx.Response:
    return caller.put(f"{ACCOUNT}/deployments/{name}", json=WANTED | changes)


def test_a_new_deployment_is_201_and_a_changed_one_200(caller: httpx.Client):
    first = put(caller)

    second = put(caller, properties={"model": {"format": "OpenAI", "name": "large"}})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["properties"]["model"]["name"] == "large"


def test_both_planes_see_the_same_deployment(caller: httpx.Client):
    put(caller)

    found = caller.get("/openai/deployments/by-arm").json()

    assert (found["model"], found["scale_settings"]["capacity"]) == ("tiny", 2)


def test_rate_limits_are_told_and_kept_in_azures_form(caller: httpx.Client):
    put(caller)
    limits = {"requests_per_minute": 6, "tokens_per_minute": 1000}
    caller.patch("/openai/deployments/by-arm", json=limits)

    answer = put(caller)

    assert answer.json()["properties"]["rateLimits"] == [
        {"key": "request", "renewalPeriod": 60, "count": 6},
        {"key": "token", "renewalPeriod": 60, "count": 1000},
    ]


def test_a_deployment_without_rate_limits_tells_of_none(caller: httpx.Client):
    assert "rateLimits" not in put(caller).json()["properties"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sku": None},
        {"sku": {"name": "s" * 65}},
        {"sku": {"name": "Standard", "capacity": 0}},
        {"sku": {"name": "Standard", "capacity": 2**31}},
        {"tags": {str(number): "" for number in range(51)}},
        {"tags": {"k" * 513: ""}},
        {"tags": {"key": "v" * 257}},
        {"properties": None},
        {"properties": {"model": {"name": "huge"}}},
        {"properties": {"model": {"name": "tiny", "version": "1" * 257}}},
        {"properties": {"model": {"name": "tiny"}, "raiPolicyName": "p" * 257}},
    ],
)
def test_what_azure_would_not_take_is_not_taken(caller: httpx.Client, changes: dict[str, Any]):
    answer = put(caller, **changes)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalidPayload")


@pytest.mark.parametrize("name", ["a b", "-a", "a" * 65])
def test_a_name_has_azures_bounds(caller: httpx.Client, name: str):
    assert put(caller, name).status_code == 400


def test_the_operators_deployments_are_not_to_be_changed(caller: httpx.Client):
    path = f"{ACCOUNT}/deployments/ops"

    answers = [put(caller, "ops"), caller.patch(path, json={"tags": {}}), caller.delete(path)]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_another_resource_finds_nothing(caller: httpx.Client, stranger: httpx.Client):
    put(caller)
    path = f"{ACCOUNT}/deployments/by-arm"

    answers = [stranger.get(path), stranger.patch(path, json={}), stranger.delete(path)]

    assert [answer.status_code for answer in answers] == [404, 404, 204]
    assert caller.get(path).status_code == 200
