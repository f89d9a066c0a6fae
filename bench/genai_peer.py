"""openvino-genai called in-process: the embedded engine's own library without a server around it.

    python -m bench.genai_peer MODEL_FOLDER

For every name of a batch's input file on a line of standard input it answers all its chats at once
and prints ``{"seconds", "tokens"}``. Prompts are turned into tokens beforehand, by the template
and the tokenizer that the server uses; answers stay tokens. It gets what costs nothing.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
from tokenizers import Tokenizer

from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.templates import ChatTemplate


def main(folder: Path) -> None:
    """Load the model and answer files until standard input ends."""
    model = read_model(folder)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = max(1, round(model.cache_bytes / (1 << 30)))
    scheduler.enable_prefix_caching = True
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(model.ir_folder), scheduler, "CPU")
    print("{}", flush=True)
    for name in sys.stdin:
        bodies = [json.loads(line)["body"] for line in Path(name.strip()).read_text().splitlines()]
        prompts = _prompts(model, bodies)
        configs = [_config(model, body) for body in bodies]
        began = time.monotonic()
        results = pipeline.generate(prompts, configs)
        seconds = time.monotonic() - began
        tokens = sum(len(result.m_generation_ids[0]) for result in results)
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


def _prompts(model: InstalledModel, bodies: list[dict[str, Any]]) -> list[openvino.Tensor]:
    template = ChatTemplate.find(model.hf_folder)
    tokenizer = Tokenizer.from_file(str(model.hf_folder / "tokenizer.json"))
    if template is None:
        raise RuntimeError(f"{model.id} has no chat template.")
    texts = [template.render(body["messages"]) for body in bodies]
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in ids]


def _config(model: InstalledModel, body: dict[str, Any]) -> openvino_genai.GenerationConfig:
    config = openvino_genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = body["max_tokens"]
    config.do_sample = False
    config.eos_token_id = model.eos_token_ids[0]
    config.stop_token_ids = set(model.eos_token_ids)
    return config


if __name__ == "__main__":
    main(Path(sys.argv[1]))
