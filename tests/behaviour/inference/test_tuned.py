"""A deployed tuned model answers chats, completions and batches, through the whole server."""

import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.support.adapters import write_adapter
from tests.support.embedded import CHAT, engine_host, models_folder, pulled
from tests.support.files import until
from tests.support.server import Server, running_server
from tests.support.tuned import add_tuned

from linarite.engines.installed import read_model

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

HEX = "0123456789abcdef" * 2
TUNED = f"{CHAT}.ft-{HEX}-odd"
STEP = f"{TUNED}:ckpt-step-10"
ORPHAN = f"gone.ft-{HEX[::-1]}"
"""Its base is not on this machine."""
PIZZA: Any = [{"role": "user", "content": "Tell me about pizza."}]
BRIEFLY = {"temperature": 0, "max_tokens": 16}
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default resource has a tuned model `tuned` and its checkpoint `step` deployed."""
    folder = tmp_path_factory.mktemp("tuning")
    hf_folder = read_model(pulled(CHAT).folder).hf_folder
    step, odd = (
        write_adapter(folder / f"adapter-{seed}", hf_folder, seed=seed, size=0.15)
        for seed in range(2)
    )
    with (
        engine_host(folder, slots=8),
        running_server(folder, models_dir=models_folder()) as running,
        running.client() as client,
    ):
        add_tuned(running, f"ftjob-{HEX}", CHAT, {10: step, 20: odd}, suffix="odd")
        add_tuned(running, f"ftjob-{HEX[::-1]}", "gone", {10: odd})
        client.post("/openai/deployments", json={"id": "tuned", "model": TUNED})
        client.post("/openai/deployments", json={"id": "orphan", "model": ORPHAN})
        model = {"format": "OpenAI", "name": STEP, "version": "1"}
        client.put(f"{ARM}/deployments/step", json={"properties": {"model": model}})
        yield running


@pytest.fixture
def client(tuning: Server) -> Iterator[openai.AzureOpenAI]:
    with tuning.sdk(timeout=120) as one:
        yield one


def test_base_model_and_checkpoint_say_different_things(client: openai.AzureOpenAI):
    asked = [
        client.chat.completions.create(model=name, messages=PIZZA, **BRIEFLY)
        for name in (CHAT, "tuned", "step")
    ]

    assert [answer.model for answer in asked] == [CHAT, TUNED, STEP]
    assert len({answer.choices[0].message.content for answer in asked}) == 3


def test_a_completion_goes_on_as_the_tuned_model_would(client: openai.AzureOpenAI):
    base, tuned = (
        client.completions.create(model=name, prompt="A pizza is", **BRIEFLY)
        for name in (CHAT, "tuned")
    )

    assert (base.model, tuned.model) == (CHAT, TUNED)
    assert base.choices[0].text != tuned.choices[0].text


def test_a_tuned_model_calls_tools_as_its_base_does(client: openai.AzureOpenAI):
    day = {"type": "object", "properties": {"day": {"enum": ["Monday", "Friday"]}}}
    function = {"name": "book", "parameters": day | {"required": ["day"]}}
    tools: Any = [{"type": "function", "function": function}]
    choice: Any = {"type": "function", "function": {"name": "book"}}

    said = client.chat.completions.create(
        model="tuned", messages=PIZZA, tools=tools, tool_choice=choice, temperature=0
    )

    [call] = said.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["day"] in {"Monday", "Friday"}


def test_a_batch_is_answered_by_the_tuned_model(client: openai.AzureOpenAI, tuning: Server):
    chat: Any = client.chat.completions.create(model="tuned", messages=PIZZA, **BRIEFLY)
    body = {"model": "tuned", "messages": PIZZA, **BRIEFLY}
    line = {"custom_id": "a", "method": "POST", "url": "/chat/completions", "body": body}
    given = io.BytesIO(json.dumps(line).encode())

    with tuning.working():
        file = client.files.create(file=("in.jsonl", given), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        until(lambda: client.batches.retrieve(made.id).status == "completed", "it is answered", 60)

    output = client.batches.retrieve(made.id).output_file_id
    answered = json.loads(client.files.content(output or "").text)["response"]["body"]
    assert answered["model"] == TUNED
    assert answered["choices"][0]["message"]["content"] == chat.choices[0].message.content
    assert answered["usage"]["total_tokens"] == chat.usage.total_tokens


def test_a_tuned_model_that_cannot_be_put_together_is_told_apart(client: openai.AzureOpenAI):
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model="orphan", messages=PIZZA)

    assert refused.value.status_code == 503
    assert "gone is not on this machine any more" in refused.value.message


@pytest.mark.parametrize("name", ["tuned", "step", TUNED])
def test_another_resource_finds_no_such_deployment(tuning: Server, name: str):
    key = tuning.add_key(f"stranger-to-{name[:5]}")

    with tuning.sdk(key=key) as stranger, pytest.raises(openai.NotFoundError) as refused:
        stranger.chat.completions.create(model=name, messages=PIZZA)

    assert refused.value.code == "DeploymentNotFound"
