"""What was deployed answers: at once, under its name, and not any more once it is removed."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from tests.support.running_engine import scripted_engine
from tests.support.server import Server, running_server

from linarite.http.tls import SelfSigned, self_signed

HI: Any = [{"role": "user", "content": "[[say hi]]"}]
BY_ARM = {"properties": {"model": {"format": "OpenAI", "name": "two"}}}


class StaticToken:
    """A credential whose token is the server's key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._key, int(time.time()) + 3600)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    return self_signed(tmp_path_factory.mktemp("tls"), [])


@pytest.fixture(scope="module")
def server(certificate: SelfSigned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Models `one` and `two`, answered by a scripted engine; served over TLS."""
    options = {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}
    with scripted_engine(tmp_path_factory.mktemp("engine")) as engine:
        upstream = {"base_url": engine.base_url}
        models = [{"id": "one", "upstream": upstream}, {"id": "two", "upstream": upstream}]
        folder: Path = tmp_path_factory.mktemp("answering")
        tls = {"tls": "self-signed"}
        with running_server(folder, options=options, server=tls, models=models) as running:
            yield running


@pytest.fixture
def trusting(certificate: SelfSigned) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.authority))


@pytest.fixture
def caller(server: Server, trusting: ssl.SSLContext) -> Iterator[httpx.Client]:
    with server.client(verify=trusting) as client:
        yield client


@pytest.fixture
def sdk(server: Server, trusting: ssl.SSLContext) -> Iterator[openai.AzureOpenAI]:
    with server.sdk(http_client=httpx.Client(verify=trusting)) as client:
        yield client


def azure(server: Server, certificate: SelfSigned, key: str) -> CognitiveServicesManagementClient:
    return CognitiveServicesManagementClient(
        StaticToken(key), "s", base_url=server.url, connection_verify=str(certificate.authority)
    )


def test_what_azures_library_deploys_answers_at_once(
    server: Server, certificate: SelfSigned, sdk: openai.AzureOpenAI
):
    with azure(server, certificate, server.key) as arm:
        arm.deployments.begin_create_or_update("rg", "account", "by-arm", BY_ARM).result(10)

    answer = sdk.chat.completions.create(model="by-arm", messages=HI)

    assert (answer.model, answer.choices[0].message.content) == ("two", "hi")


def test_azures_library_with_another_token_is_refused(server: Server, certificate: SelfSigned):
    with (
        azure(server, certificate, "not-the-key") as arm,
        pytest.raises(ClientAuthenticationError),
    ):
        list(arm.deployments.list("rg", "account"))


def test_a_changed_deployment_answers_by_its_new_model(
    caller: httpx.Client, sdk: openai.AzureOpenAI
):
    caller.post("/openai/deployments", json={"id": "changing", "model": "one"})
    before = sdk.chat.completions.create(model="changing", messages=HI)

    caller.patch("/openai/deployments/changing", json={"model": "two"})

    after = sdk.chat.completions.create(model="changing", messages=HI)
    assert (before.model, after.model) == ("one", "two")


def test_a_removed_deployment_does_not_answer(caller: httpx.Client, sdk: openai.AzureOpenAI):
    caller.post("/openai/deployments", json={"id": "going", "model": "one"})
    sdk.chat.completions.create(model="going", messages=HI)

    caller.delete("/openai/deployments/going")

    with pytest.raises(openai.NotFoundError) as refused:
        sdk.chat.completions.create(model="going", messages=HI)
    assert refused.value.code == "DeploymentNotFound"
