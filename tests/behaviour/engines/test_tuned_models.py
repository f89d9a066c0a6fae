"""Tuned models answer as their base would with the adapter in its weights, from the same process
that any embedded model is served by.
"""

import asyncio
import json

import numpy as np
import pytest
from tests.support.adapters import write_adapter
from tests.support.embedded import CHAT, engine_host, pulled
from tokenizers import Tokenizer

from linarite.engines import architecture, exporting, installed, making, reference
from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace, host_socket
from linarite.engines.refusals import ModelMissing
from linarite.engines.tuned import put_tuned

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

PROMPT = "Tell me about pizza."
TUNED = f"{CHAT}.ft-1"


@pytest.fixture(scope="module")
def base():
    return installed.read_model(pulled(CHAT).folder)


@pytest.fixture(scope="module")
def data(base, tmp_path_factory):
    """A data folder with a tuned model, one whose adapter changes nothing, and an engine host."""
    folder = tmp_path_factory.mktemp("tuned")
    for name, size in (("changed", 0.1), ("same", 0.0)):
        adapter = write_adapter(folder / f"adapter-{name}", base.hf_folder, size=size)
        put_tuned(base, adapter, folder / name, TUNED)
    with engine_host(folder):
        yield folder


def place(data, name):
    return ModelPlace(TUNED, folder=data / name)


def asked(data, where):
    """The greedy answer to PROMPT, whole."""

    async def go():
        async with Engines(host_socket(data)) as engines:
            engine = await engines.reach(where)
            body = {"messages": [{"role": "user", "content": PROMPT}]}
            body |= {"temperature": 0, "max_tokens": 24}
            reply = await engine.post("/chat/completions", json.dumps(body).encode())
            return json.loads(reply.body)

    return asyncio.run(go())


def test_an_adapter_changes_what_its_base_says(data):
    changed, plain = asked(data, place(data, "changed")), asked(data, pulled(CHAT))

    assert changed["model"] == TUNED
    assert plain["model"] == CHAT
    texts = [one["choices"][0]["message"]["content"] for one in (changed, plain)]
    assert texts[0] != texts[1]


def test_an_adapter_that_adds_nothing_changes_nothing(data):
    same, plain = asked(data, place(data, "same")), asked(data, pulled(CHAT))

    assert same["choices"] == plain["choices"]


def test_a_tuned_model_says_what_its_merged_weights_say(data, base, tmp_path):
    """Every word of the engine is the reference's own choice over the merged weights, or so near
    it that half precision may decide otherwise.
    """
    model = installed.read_model(data / "changed")
    exporting.to_hf_folder(model, tmp_path / "merged")
    arch = architecture.from_hf_config(json.loads((tmp_path / "merged/config.json").read_text()))
    tokenizer = Tokenizer.from_file(str(model.hf_folder / "tokenizer.json"))
    said = asked(data, place(data, "changed"))["choices"][0]["message"]["content"]
    answer = tokenizer.encode(said, add_special_tokens=False).ids
    (prompt, *_) = making.agreement_prompts(base.hf_folder, [PROMPT])

    (rows,) = reference.logits(arch, tmp_path / "merged", [[*prompt, *answer]])

    gaps = [
        float(rows[at].max() - rows[at][token])
        for at, token in enumerate(answer, start=len(prompt) - 1)
    ]
    assert len(gaps) > 5
    assert max(gaps) < 0.5
    assert np.mean([gap == 0 for gap in gaps]) >= 0.8


def test_a_tuned_model_whose_base_is_gone_is_missing(data, base, tmp_path):
    adapter = data / "adapter-changed"
    put_tuned(base, adapter, data / "orphan", TUNED)
    stated = json.loads((data / "orphan" / "model.json").read_text())
    stated["base"]["folder"] = str(tmp_path / "gone")
    (data / "orphan" / "model.json").write_text(json.dumps(stated))

    with pytest.raises(ModelMissing, match=f"was tuned from {CHAT}, which is not on this machine"):
        asked(data, place(data, "orphan"))
