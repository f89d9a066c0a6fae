"""GGUF files: read into a Hugging Face folder, written as the F16 file that the engine's IR needs.

Quantised tensors are turned into numbers here: the engine's own readers of quantised types give
wrong text. Tokenizers of GGUF files are rebuilt for the `tokenizers` library where their way of
splitting text is known.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from linarite.engines import architecture
from linarite.engines.architecture import Architecture
from linarite.engines.gguf_tokenizer import tokenizer_config, tokenizer_fields, tokenizer_of
from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel
from linarite.engines.weights import (
    Array,
    TensorSource,
    open_safetensors,
    to_half,
    write_safetensors,
)

_ROPE_DIVISORS = "rope_freqs.weight"


def to_hf_folder(file: Path, folder: Path) -> None:
    """Write what a GGUF file holds as a Hugging Face folder with float16 weights.

    Raises:
        UnusableModel: it is no GGUF file, or not one that the embedded engine can serve.
    """
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise UnusableModel(f"{file.name} is not a whole GGUF file: {error}") from error
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {tensor.name: _source(tensor) for tensor in reader.tensors}
    divisors = tensors.pop(_ROPE_DIVISORS, None)
    arch = architecture.from_gguf_fields(
        fields,
        {name: source.shape for name, source in tensors.items()},
        None if divisors is None else [float(x) for x in divisors.read()],
    )
    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(fields)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = tokenizer_config(fields, arch.context_tokens)
    _write_json(folder / "tokenizer_config.json", config)
    bos, eos = fields.get("tokenizer.ggml.bos_token_id"), fields["tokenizer.ggml.eos_token_id"]
    _write_json(folder / "config.json", architecture.to_hf_config(arch, bos=bos, eos=eos))
    _write_json(folder / "generation_config.json", {"bos_token_id": bos, "eos_token_id": eos})
    named = {architecture.hf_name(n): _to_hf(arch, n, source) for n, source in tensors.items()}
    check_tensors(arch, named)
    write_safetensors(folder / "model.safetensors", named)


def to_f16_file(folder: Path, file: Path) -> Architecture:
    """Write the weights of a Hugging Face folder as an F16 GGUF file that the engine can read.

    The file's tokenizer is a stand-in of three words: prompts reach the engine as token ids.

    Raises:
        UnusableModel: the embedded engine cannot serve this model.
    """
    arch, sources = _open_folder(folder)
    _write(file, arch, sources, _add_stand_in_tokenizer)
    return arch


def to_whole_file(folder: Path, file: Path) -> None:
    """Write a Hugging Face folder as an F16 GGUF file for any program that reads such files.

    Raises:
        UnusableModel: its tokenizer has no form in GGUF that is known here.
    """
    arch, sources = _open_folder(folder)
    tokenizer = tokenizer_fields(folder, arch.vocabulary)
    divisors = arch.rotation_divisors()
    if divisors is not None:
        values = np.array(divisors, np.float32)
        sources[_ROPE_DIVISORS] = TensorSource(values.shape, lambda: values)

    def add_tokenizer(writer: gguf.GGUFWriter) -> None:
        for name, value in tokenizer.items():
            writer.add_key_value(name, *_typed(value))

    _write(file, arch, sources, add_tokenizer)


def _open_folder(folder: Path) -> tuple[Architecture, dict[str, TensorSource]]:
    arch = architecture.from_hf_config(json.loads((folder / "config.json").read_text()))
    sources = {
        name: source
        for name, source in open_safetensors(folder).items()
        if not name.endswith("rotary_emb.inv_freq") and not (arch.tied and name == "lm_head.weight")
    }
    check_tensors(arch, sources)
    return arch, sources


def _write(
    file: Path,
    arch: Architecture,
    sources: dict[str, TensorSource],
    add_tokenizer: Callable[[gguf.GGUFWriter], None],
) -> None:
    writer = gguf.GGUFWriter(file, arch.family)
    for name, value in architecture.to_gguf_fields(arch).items():
        add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        add(f"{arch.family}.{name}", value)  # type: ignore[arg-type]  # int with uint32, else float
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer)
    for name, source in sources.items():
        kind, width = (np.float32, 4) if len(source.shape) == 1 else (np.float16, 2)
        size = int(np.prod(source.shape)) * width
        writer.add_tensor_info(_gguf_name(name), source.shape, np.dtype(kind), size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, source in sources.items():
        writer.write_tensor_data(_to_gguf(arch, name, source.read()))
    writer.close()


def _gguf_name(name: str) -> str:
    return name if name == _ROPE_DIVISORS else architecture.gguf_name(name)


def check_tensors(arch: Architecture, sources: dict[str, TensorSource]) -> None:
    """Refuse a model that lacks a tensor, has one too many, or one of another shape."""
    expected = architecture.expected_tensors(arch)
    for name, shape in expected.items():
        if name not in sources:
            raise UnusableModel(f"The weights lack {name}. {UPSTREAM_HINT}")
        if sources[name].shape != shape:
            raise UnusableModel(f"{name} has the shape {sources[name].shape}, not {shape}.")
    if more := sources.keys() - expected.keys():
        raise UnusableModel(f"The engine has no use for the tensor {min(more)}. {UPSTREAM_HINT}")


def _source(tensor: Any) -> TensorSource:
    shape = tuple(int(size) for size in reversed(tensor.shape))

    def read() -> Array:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        return values.astype(np.float32).reshape(shape)

    return TensorSource(shape, read)


def _to_hf(arch: Architecture, name: str, source: TensorSource) -> TensorSource:
    """Undo the order of rows in which llama.cpp keeps q and k."""
    heads = _permuted_heads(arch, architecture.hf_name(name))
    if heads is None:
        return source

    def read() -> Array:
        rows = source.read()
        half = rows.shape[0] // heads // 2
        return rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)

    return TensorSource(source.shape, read)


def _to_gguf(arch: Architecture, name: str, values: Array) -> Array:
    heads = _permuted_heads(arch, name)
    if heads is not None:
        half = values.shape[0] // heads // 2
        pairs = values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2)
        values = np.ascontiguousarray(pairs.reshape(values.shape))
    return values.astype(np.float32) if values.ndim == 1 else to_half(name, values)


def _permuted_heads(arch: Architecture, hf_name: str) -> int | None:
    if not arch.is_permuted:
        return None
    if hf_name.endswith("q_proj.weight"):
        return arch.heads
    return arch.kv_heads if hf_name.endswith("k_proj.weight") else None


def _add_stand_in_tokenizer(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b", "ab"])
    writer.add_token_types([1, 1, 3])
    writer.add_token_merges(["a b"])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(2)
    writer.add_chat_template("-")


def _typed(value: Any) -> tuple[Any, ...]:
    """A value with the types that GGUF's own format says of it."""
    kinds = {bool: gguf.GGUFValueType.BOOL, int: gguf.GGUFValueType.UINT32}
    kinds[str] = gguf.GGUFValueType.STRING
    if not isinstance(value, list):
        return value, kinds[type(value)]
    # Kinds of tokens are signed in files of every other writer.
    inner = gguf.GGUFValueType.INT32 if isinstance(value[0], int) else kinds[type(value[0])]
    return value, gguf.GGUFValueType.ARRAY, inner


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False))
