"""A tuned model behind a server that loads adapters: it is unloaded with its last deployment."""

import asyncio

import pytest
from tests.support.adapter_server import AdapterServer
from tests.support.adapters import write_adapter
from tests.support.blocking import running_loop
from tests.support.files import until
from tests.support.server import running_server
from tests.support.tuned import add_tuned
from tests.support.tuning import BASE, tiny_base

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
ASKED = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def theirs():
    """The server, and its address."""
    theirs = AdapterServer()
    with running_loop() as loop:
        running = theirs.running()
        url = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(10)
        yield theirs, url
        ending = running.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ending, loop).result(10)


@pytest.mark.parametrize("last", ["/openai/deployments/second", f"{ARM}/deployments/second"])
def test_a_model_is_unloaded_with_its_last_deployment(tmp_path, theirs, last):
    server_of_adapters, url = theirs
    adapter = write_adapter(tmp_path / "adapter", tiny_base(tmp_path / "models").hf_folder)
    base = {"id": BASE, "upstream": {"base_url": url, "adapters": True}}
    with (
        running_server(tmp_path / "data", models=[base], models_dir=tmp_path / "models") as server,
        server.client() as client,
    ):
        model = add_tuned(server, "ftjob-" + "5" * 32, BASE, {1: adapter})[0].tuned_model
        for name in ("first", "second"):
            client.post("/openai/deployments", json={"id": name, "model": model})
            asked = client.post(f"/openai/deployments/{name}/chat/completions", json=ASKED)
            assert asked.status_code == 200
        client.delete("/openai/deployments/first").raise_for_status()
        still = set(server_of_adapters.loaded)
        client.delete(last).raise_for_status()
        until(lambda: not server_of_adapters.loaded, "it is unloaded")

    assert still == {model}
    assert server_of_adapters.unloaded == [{"lora_name": model}]
