"""What PEFT saves, the engine serves: its words are those of PEFT's own model."""

import asyncio
import json

import numpy as np
import peft
import pytest
import torch
from tests.support.embedded import CHAT, engine_host, pulled
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from linarite.engines import making
from linarite.engines.client import Engines
from linarite.engines.installed import read_model
from linarite.engines.place import ModelPlace, host_socket
from linarite.engines.tuned import put_tuned

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # PEFT's own
]

PROMPT = "Tell me about pizza."


@pytest.fixture(scope="module")
def base():
    return read_model(pulled(CHAT).folder)


@pytest.fixture(scope="module")
def model(base):
    """The base with LoRA matrices that PEFT made at random, in float32."""
    torch.manual_seed(5)
    whole = AutoModelForCausalLM.from_pretrained(base.hf_folder, dtype=torch.float32)
    config = peft.LoraConfig(
        r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    changed = peft.get_peft_model(whole, config).eval()
    with torch.no_grad():
        for name, matrix in changed.named_parameters():
            if ".lora_B." in name:
                matrix *= 0.1  # other words, but still words
    return changed


def test_the_engine_says_what_peft_says(tmp_path, base, model):
    """Every word is PEFT's own choice, or so near it that half precision decides otherwise."""
    model.save_pretrained(tmp_path / "adapter")
    put_tuned(base, tmp_path / "adapter", tmp_path / "tuned", "tuned")
    with engine_host(tmp_path, slots=4):
        said = asyncio.run(_greedy_answer(tmp_path))
    tokenizer = Tokenizer.from_file(str(base.hf_folder / "tokenizer.json"))
    answer = tokenizer.encode(said, add_special_tokens=False).ids
    (prompt,) = making.agreement_prompts(base.hf_folder, [PROMPT])

    with torch.no_grad():
        rows = model(torch.tensor([[*prompt, *answer]])).logits[0].numpy()
        with model.disable_adapter():
            unchanged = model(torch.tensor([[*prompt, *answer]])).logits[0].numpy()

    gaps = [
        float(rows[at].max() - rows[at][token])
        for at, token in enumerate(answer, start=len(prompt) - 1)
    ]
    assert len(gaps) > 5
    assert (rows.argmax(1) != unchanged.argmax(1))[len(prompt) - 1 : -1].any()
    assert max(gaps) < 0.5
    assert np.mean([gap == 0 for gap in gaps]) >= 0.8


async def _greedy_answer(data):
    async with Engines(host_socket(data)) as engines:
        engine = await engines.reach(ModelPlace("tuned", folder=data / "tuned"))
        body = {"messages": [{"role": "user", "content": PROMPT}]}
        body |= {"temperature": 0, "max_tokens": 24}
        reply = await engine.post("/chat/completions", json.dumps(body).encode())
        return json.loads(reply.body)["choices"][0]["message"]["content"]
