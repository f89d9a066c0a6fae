"""The decoder architectures that the embedded engine serves, and what their tensors are called.

Llama and its kin (SmolLM2, Mistral, ...), Qwen2 and Qwen3: one block, with or without biases and
head norms. This module knows names and shapes; it neither reads files nor computes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel

_CLASSES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
_HF_CLASS = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK_BACK = {theirs: ours for ours, theirs in _BLOCK.items()}
_TOP_BACK = {theirs: ours for ours, theirs in _TOP.items()}
_REFUSED_GGUF_KEYS = ("rope.scaling.type", "expert_count", "attention.sliding_window")
_LLAMA3 = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@dataclass(frozen=True)
class Architecture:
    """The numbers of one decoder-only transformer."""

    family: str
    """``llama``, ``qwen2`` or ``qwen3``, as GGUF names it."""
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_tokens: int
    norm_epsilon: float
    rope_base: float
    tied: bool
    """Whether the output layer is the embedding."""
    rope_scaling: Mapping[str, Any] | None = None
    """Llama 3's stretching of the slow rotations, as its ``config.json`` gives it."""

    @property
    def is_permuted(self) -> bool:
        """Whether GGUF stores q and k with rotary pairs next to each other."""
        return self.family == "llama"

    def rotations(self) -> list[float]:
        """Radians per position of each rotary pair, scaling included."""
        plain, divisors = self._plain_rotations(), self.rotation_divisors()
        if divisors is None:
            return plain
        return [speed / divisor for speed, divisor in zip(plain, divisors, strict=True)]

    def rotation_divisors(self) -> list[float] | None:
        """How much slower than unscaled each pair turns; None where nothing is scaled."""
        if self.rope_scaling is None:
            return None
        return _llama3_divisors(self._plain_rotations(), self.rope_scaling)

    def _plain_rotations(self) -> list[float]:
        half = self.head_size // 2
        return [self.rope_base ** (-pair / half) for pair in range(half)]

    def kv_bytes_per_token(self) -> int:
        """Bytes of the attention cache that one token takes, at 16 bits."""
        return self.layers * 2 * self.kv_heads * self.head_size * 2


def _llama3_divisors(speeds: Sequence[float], scaling: Mapping[str, Any]) -> list[float]:
    """How much slower each pair turns: not at all when fast, `factor` when slow, between else."""
    factor, low, high = (
        float(scaling[key]) for key in ("factor", "low_freq_factor", "high_freq_factor")
    )
    trained = float(scaling["original_max_position_embeddings"])
    divisors = []
    for speed in speeds:
        turns = trained * speed / (2 * math.pi)
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / (share + (1 - share) / factor))
    return divisors


def from_hf_config(config: dict[str, Any]) -> Architecture:
    """Read a Hugging Face ``config.json``.

    Raises:
        UnusableModel: the embedded engine does not know this architecture.
    """
    name = (config.get("architectures") or ["unnamed"])[0]
    if name not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise UnusableModel(
            f"The embedded engine does not know the architecture {name} (it knows {known}). "
            + UPSTREAM_HINT
        )
    _refuse_variants(config, name)
    scaling = _rope_scaling(config)
    heads = int(config["num_attention_heads"])
    return Architecture(
        family=_CLASSES[name],
        layers=int(config["num_hidden_layers"]),
        width=int(config["hidden_size"]),
        feed_forward=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
        vocabulary=int(config["vocab_size"]),
        context_tokens=int(config["max_position_embeddings"]),
        norm_epsilon=float(config["rms_norm_eps"]),
        rope_base=_rope_base(config),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope_scaling=scaling if _rope_kind(scaling) == "llama3" else None,
    )


def _rope_base(config: dict[str, Any]) -> float:
    parameters = config.get("rope_parameters") or {}
    return float(config.get("rope_theta") or parameters.get("rope_theta") or 10_000.0)


def _rope_scaling(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("rope_scaling") or config.get("rope_parameters") or {}


def _rope_kind(scaling: dict[str, Any]) -> str:
    return str(scaling.get("rope_type", scaling.get("type", "default")))


def _refuse_variants(config: dict[str, Any], name: str) -> None:
    """Refuse what would be computed wrongly without a word."""
    kind = _rope_kind(_rope_scaling(config))
    odd = {
        f"rope scaling {kind!r}": kind not in ("default", "llama3"),
        f"activation {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
        "a sliding window": bool(config.get("use_sliding_window"))
        or (name.startswith("Mistral") and config.get("sliding_window") is not None),
        "attention biases": name.startswith(("Llama", "Mistral", "Qwen3"))
        and bool(config.get("attention_bias")),
        "MLP biases": bool(config.get("mlp_bias")),
        "quantised weights": "quantization_config" in config,
    }
    for what, holds in odd.items():
        if holds:
            raise UnusableModel(
                f"This {name} has {what}, which the embedded engine does not compute. "
                + UPSTREAM_HINT
            )


def from_gguf_fields(
    fields: dict[str, Any],
    tensors: dict[str, tuple[int, ...]],
    rope_divisors: Sequence[float] | None = None,
) -> Architecture:
    """Read the metadata of a GGUF file.

    Args:
        fields: the file's metadata.
        tensors: each tensor's shape, rows first.
        rope_divisors: the values of the tensor ``rope_freqs.weight``, if there is one.

    Raises:
        UnusableModel: the embedded engine does not know this architecture.
    """
    family = fields.get("general.architecture")
    if family not in _HF_CLASS:
        known = ", ".join(_HF_CLASS)
        raise UnusableModel(
            f"The embedded engine does not know the architecture {family!r} (it knows {known}). "
            + UPSTREAM_HINT
        )
    scaled = [key for key in _REFUSED_GGUF_KEYS if fields.get(f"{family}.{key}")]
    if scaled:
        raise UnusableModel(
            f"This GGUF file uses {scaled[0]}, which the embedded engine does not compute. "
            + UPSTREAM_HINT
        )

    def number(key: str) -> Any:
        return fields[f"{family}.{key}"]

    heads = int(number("attention.head_count"))
    width = int(number("embedding_length"))
    plain = Architecture(
        family=str(family),
        layers=int(number("block_count")),
        width=width,
        feed_forward=int(number("feed_forward_length")),
        heads=heads,
        kv_heads=int(fields.get(f"{family}.attention.head_count_kv", heads)),
        head_size=int(fields.get(f"{family}.attention.key_length", width // heads)),
        vocabulary=tensors["token_embd.weight"][0],
        context_tokens=int(number("context_length")),
        norm_epsilon=float(number("attention.layer_norm_rms_epsilon")),
        rope_base=float(fields.get(f"{family}.rope.freq_base", 10_000.0)),
        tied="output.weight" not in tensors,
    )
    if rope_divisors is None:
        return plain
    return replace(plain, rope_scaling=_scaling_of(plain.rotations(), rope_divisors))


def _scaling_of(speeds: Sequence[float], divisors: Sequence[float]) -> dict[str, Any]:
    """The configuration that these divisors came from (GGUF keeps only the result)."""
    scaling = {**_LLAMA3, "factor": round(max(divisors), 3)}
    expected = _llama3_divisors(speeds, scaling)
    if any(not math.isclose(a, b, rel_tol=1e-3) for a, b in zip(expected, divisors, strict=True)):
        raise UnusableModel(
            "This GGUF file scales its rotary embedding in a way that is not Llama 3's. "
            + UPSTREAM_HINT
        )
    return scaling


def to_hf_config(arch: Architecture, *, bos: int | None, eos: int) -> dict[str, Any]:
    """The ``config.json`` of a model of float16 weights."""
    return {
        "architectures": [_HF_CLASS[arch.family]],
        "model_type": arch.family,
        "hidden_size": arch.width,
        "intermediate_size": arch.feed_forward,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads,
        "num_key_value_heads": arch.kv_heads,
        "head_dim": arch.head_size,
        "vocab_size": arch.vocabulary,
        "max_position_embeddings": arch.context_tokens,
        "rms_norm_eps": arch.norm_epsilon,
        "rope_theta": arch.rope_base,
        "rope_scaling": dict(arch.rope_scaling) if arch.rope_scaling else None,
        "tie_word_embeddings": arch.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": "float16",
    }


def to_gguf_fields(arch: Architecture) -> dict[str, int | float]:
    """The numbers as GGUF metadata, without the family's prefix."""
    return {
        "block_count": arch.layers,
        "context_length": arch.context_tokens,
        "embedding_length": arch.width,
        "feed_forward_length": arch.feed_forward,
        "attention.head_count": arch.heads,
        "attention.head_count_kv": arch.kv_heads,
        "attention.key_length": arch.head_size,
        "attention.value_length": arch.head_size,
        "attention.layer_norm_rms_epsilon": arch.norm_epsilon,
        "rope.freq_base": arch.rope_base,
        "rope.dimension_count": arch.head_size,
        "vocab_size": arch.vocabulary,
    }


def hf_name(gguf_name: str) -> str:
    """``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``."""
    if gguf_name in _TOP:
        return _TOP[gguf_name]
    parts = gguf_name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in _BLOCK:
        raise UnusableModel(f"The embedded engine has no use for the tensor {gguf_name!r}.")
    return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.{parts[3]}"


def gguf_name(hf_name: str) -> str:
    """``model.layers.3.self_attn.q_proj.weight`` → ``blk.3.attn_q.weight``."""
    if hf_name in _TOP_BACK:
        return _TOP_BACK[hf_name]
    parts = hf_name.split(".")
    middle = ".".join(parts[3:-1])
    if parts[:2] != ["model", "layers"] or middle not in _BLOCK_BACK:
        raise UnusableModel(f"The embedded engine has no use for the tensor {hf_name!r}.")
    return f"blk.{parts[2]}.{_BLOCK_BACK[middle]}.{parts[-1]}"


def expected_tensors(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this architecture must bring, by its Hugging Face name."""
    queries, keys = arch.heads * arch.head_size, arch.kv_heads * arch.head_size
    shapes: dict[str, tuple[int, ...]] = {}
    shapes["model.embed_tokens.weight"] = (arch.vocabulary, arch.width)
    for layer in range(arch.layers):
        at = f"model.layers.{layer}"
        shapes[f"{at}.input_layernorm.weight"] = (arch.width,)
        for letter, rows in (("q", queries), ("k", keys), ("v", keys)):
            shapes[f"{at}.self_attn.{letter}_proj.weight"] = (rows, arch.width)
            if arch.family == "qwen2":
                shapes[f"{at}.self_attn.{letter}_proj.bias"] = (rows,)
        if arch.family == "qwen3":
            shapes[f"{at}.self_attn.q_norm.weight"] = (arch.head_size,)
            shapes[f"{at}.self_attn.k_norm.weight"] = (arch.head_size,)
        shapes[f"{at}.self_attn.o_proj.weight"] = (arch.width, queries)
        shapes[f"{at}.post_attention_layernorm.weight"] = (arch.width,)
        shapes[f"{at}.mlp.gate_proj.weight"] = (arch.feed_forward, arch.width)
        shapes[f"{at}.mlp.up_proj.weight"] = (arch.feed_forward, arch.width)
        shapes[f"{at}.mlp.down_proj.weight"] = (arch.width, arch.feed_forward)
    shapes["model.norm.weight"] = (arch.width,)
    if not arch.tied:
        shapes["lm_head.weight"] = (arch.vocabulary, arch.width)
    return shapes
