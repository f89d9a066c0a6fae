"""Models of a few thousand weights, made at random, that exercise a model's whole way in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from linarite.engines import architecture

TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "<assistant>"
)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def tiny_config(family: str = "LlamaForCausalLM", **changes: Any) -> dict[str, Any]:
    """The `config.json` of a two-layer model that knows the 256 bytes and an end."""
    return {
        "architectures": [family],
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "vocab_size": 257,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "eos_token_id": 256,
        **changes,
    }


def write_tiny_model(folder: Path, config: dict[str, Any], *, template: bool = True) -> Path:
    """Write a Hugging Face folder with random weights and a byte-level tokenizer."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(7)
    shapes = architecture.expected_tensors(architecture.from_hf_config(config))
    save_file(
        {name: _values(rng, shape) for name, shape in shapes.items()}, folder / "model.safetensors"
    )
    tokenizer = Tokenizer(models.BPE(vocab=_bytes(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    stated = {"eos_token": "<end>"} | ({"chat_template": TEMPLATE} if template else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return folder


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        return (1 + 0.1 * rng.standard_normal(shape)).astype(np.float16)
    return (1.5 * rng.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float16)


def _bytes() -> dict[str, int]:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {letter: place for place, letter in enumerate(letters)}
