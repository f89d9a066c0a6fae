"""A decoder's forward pass in plain float32 numpy: slow, small, what the engine must agree with.

Weights are read a layer at a time, so that memory stays at one layer whatever the model's size.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from linarite.engines.architecture import Architecture
from linarite.engines.weights import Array, TensorSource, open_safetensors


def logits(arch: Architecture, folder: Path, sequences: Sequence[Sequence[int]]) -> list[Array]:
    """What the model says after each token of each sequence.

    Args:
        arch: the model's numbers.
        folder: its Hugging Face folder.
        sequences: token ids, each sequence by itself.

    Returns:
        For each sequence an array (tokens, vocabulary) of float32.
    """
    weights = open_safetensors(folder)
    embedding = weights["model.embed_tokens.weight"].read()
    states = [embedding[list(sequence)] for sequence in sequences]
    for layer in range(arch.layers):
        block = _Block(arch, weights, f"model.layers.{layer}")
        states = [block.forward(state) for state in states]
    norm = weights["model.norm.weight"].read()
    output = embedding if arch.tied else weights["lm_head.weight"].read()
    return [_rms_norm(state, norm, arch.norm_epsilon) @ output.T for state in states]


class _Block:
    """One layer's weights, and what they do to the states (T, D) of a sequence."""

    def __init__(self, arch: Architecture, weights: dict[str, TensorSource], at: str) -> None:
        self.arch = arch
        self._own = {
            name.removeprefix(at + "."): source.read()
            for name, source in weights.items()
            if name.startswith(at + ".")
        }

    def forward(self, states: Array) -> Array:
        states = states + self._attend(self._norm(states, "input_layernorm"))
        normed = self._norm(states, "post_attention_layernorm")
        gate = self._linear(normed, "mlp.gate_proj")
        gated = gate / (1 + np.exp(-gate)) * self._linear(normed, "mlp.up_proj")
        mixed: Array = states + self._linear(gated, "mlp.down_proj")
        return mixed

    def _attend(self, normed: Array) -> Array:
        arch, length = self.arch, len(normed)
        queries = self._heads(normed, "q", arch.heads)  # (H, T, S)
        keys = self._heads(normed, "k", arch.kv_heads)
        values = self._heads(normed, "v", arch.kv_heads)
        group = arch.heads // arch.kv_heads
        keys, values = keys.repeat(group, axis=0), values.repeat(group, axis=0)
        scores = queries @ keys.swapaxes(1, 2) / np.sqrt(arch.head_size)  # (H, T, T)
        scores[:, ~np.tri(length, dtype=bool)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = scores / scores.sum(axis=-1, keepdims=True)
        joined = (shares @ values).swapaxes(0, 1).reshape(length, -1)
        return self._linear(joined, "self_attn.o_proj")

    def _heads(self, normed: Array, letter: str, heads: int) -> Array:
        rows = self._linear(normed, f"self_attn.{letter}_proj")
        split = rows.reshape(len(normed), heads, self.arch.head_size).swapaxes(0, 1)
        if letter == "v":
            return split
        scale = self._own.get(f"self_attn.{letter}_norm.weight")
        if scale is not None:
            split = _rms_norm(split, scale, self.arch.norm_epsilon)
        return _rotate(split, self.arch.rotations())

    def _norm(self, states: Array, name: str) -> Array:
        return _rms_norm(states, self._own[f"{name}.weight"], self.arch.norm_epsilon)

    def _linear(self, states: Array, name: str) -> Array:
        result: Array = states @ self._own[f"{name}.weight"].T
        bias = self._own.get(f"{name}.bias")
        return result if bias is None else result + bias


def _rms_norm(states: Array, scale: Array, epsilon: float) -> Array:
    mean = np.mean(states * states, axis=-1, keepdims=True)
    normed: Array = states / np.sqrt(mean + epsilon) * scale
    return normed


def _rotate(heads: Array, rotations: Sequence[float]) -> Array:
    """Turn each pair (i, i + half) of a head by its position times its speed."""
    angles = np.outer(np.arange(heads.shape[1]), rotations).astype(np.float32)  # (T, S/2)
    cos, sin = np.cos(angles), np.sin(angles)
    half = heads.shape[-1] // 2
    low, high = heads[..., :half], heads[..., half:]
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)
