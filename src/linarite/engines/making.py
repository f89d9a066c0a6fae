"""From what a user or a package brings to an installed model: convert, compare, put in place."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from linarite.engines import agreement, architecture, gguf_files, installed, ir
from linarite.engines.architecture import Architecture
from linarite.engines.installed import InstalledModel
from linarite.engines.progress import Progress, Report
from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel
from linarite.engines.templates import ChatTemplate

_GB = 1 << 30
_CACHE_TOKENS = 32_768
_MAX_CACHE_BYTES = 4 * _GB
_PROCESS_BYTES = 400 << 20
_QUESTIONS = (
    "Name three colours.",
    "What is the capital of France?",
    "Write one sentence about snow.",
    "Count from one to five.",
)


def make_chat_model(
    model_id: str,
    given: Path,
    scratch: Path,
    models: Path,
    source: Mapping[str, str],
    tell: Report,
    *,
    compare: bool = True,
) -> InstalledModel:
    """Install a GGUF file or a Hugging Face folder of a chat model.

    Args:
        model_id: the id it is to have.
        given: the file or folder; left as it is.
        scratch: an empty folder on the models' disk.
        models: the folder that holds models.
        source: what `InstalledModel.source` is to say.
        tell: told each stage.
        compare: whether the engine's answers are compared with the reference's.

    Raises:
        UnusableModel: the embedded engine cannot serve it, or answers otherwise than it should.
    """
    made = scratch / "made"
    made.mkdir()
    tell(Progress("reading"))
    if given.is_dir():
        copy_hf_folder(given, made / "hf")
    else:
        gguf_files.to_hf_folder(given, made / "hf")
    refuse_without_template(made / "hf")
    arch = architecture.from_hf_config(json.loads((made / "hf" / "config.json").read_text()))
    _refuse_without_room(arch, scratch)
    tell(Progress("converting"))
    f16 = scratch / "f16.gguf"
    gguf_files.to_f16_file(made / "hf", f16)
    ir.convert(f16, made / "ir", arch.rotations())
    f16.unlink()
    agreed = None
    if compare:
        tell(Progress("comparing"))
        agreed = agreement.check(arch, made / "hf", made / "ir", agreement_prompts(made / "hf"))
    cache = cache_bytes(arch)
    model = InstalledModel(
        id=model_id,
        kind="chat",
        folder=made,
        context_tokens=min(arch.context_tokens, cache // arch.kv_bytes_per_token()),
        has_chat_template=True,
        eos_token_ids=_eos_tokens(made / "hf"),
        memory_bytes=_weight_bytes(arch) * 2 + cache + _PROCESS_BYTES,
        cache_bytes=cache,
        is_tunable=True,
        agreement=agreed,
        source=source,
    )
    placed = installed.put_in_place(model, models)
    tell(Progress("done"))
    return placed


def make_embedding_model(
    model_id: str, unpacked: Path, models: Path, source: Mapping[str, str], tell: Report
) -> InstalledModel:
    """Install an embedding model: ``onnx/model.onnx`` beside ``hf/`` with its tokenizer.

    Raises:
        UnusableModel: a file that it needs is missing.
    """
    hf = unpacked / "hf"
    for file in (unpacked / "onnx" / "model.onnx", hf / "tokenizer.json", hf / "config.json"):
        if not file.exists():
            raise UnusableModel(f"An embedding model needs {file.name}, which is missing.")
    config = json.loads((hf / "config.json").read_text())
    weights = (unpacked / "onnx" / "model.onnx").stat().st_size
    model = InstalledModel(
        id=model_id,
        kind="embedding",
        folder=unpacked,
        context_tokens=int(config["max_position_embeddings"]),
        has_chat_template=False,
        dimensions=int(config["hidden_size"]),
        memory_bytes=weights * 4 + _PROCESS_BYTES,
        source=source,
    )
    placed = installed.put_in_place(model, models)
    tell(Progress("done"))
    return placed


def copy_hf_folder(given: Path, target: Path) -> None:
    """Take the files of a Hugging Face folder that serving, counting and tuning need."""
    target.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if not (given / name).is_file():
            raise UnusableModel(f"{given} has no {name}.")
    if not list(given.glob("*.safetensors")):
        raise UnusableModel(
            f"{given} has no *.safetensors file; weights in other forms are not read."
        )
    wanted = ("*.safetensors", "*.json", "*.jinja")
    for file in [file for pattern in wanted for file in given.glob(pattern)]:
        if not file.name.endswith(".index.json"):
            shutil.copy(file, target / file.name)


def refuse_without_template(hf_folder: Path) -> None:
    """Refuse a chat model that does not say how a chat is written down for it."""
    if ChatTemplate.find(hf_folder) is None:
        raise UnusableModel(
            "This model brings no chat template, so the embedded engine would not know how to "
            f"ask it. {UPSTREAM_HINT}"
        )


def cache_bytes(arch: Architecture) -> int:
    """The attention cache of its engine: whole GiB, room for 32,768 tokens if they fit in four."""
    wanted = min(arch.kv_bytes_per_token() * _CACHE_TOKENS, _MAX_CACHE_BYTES)
    return max(1, round(wanted / _GB)) * _GB


def agreement_prompts(hf_folder: Path, questions: Sequence[str] = _QUESTIONS) -> list[list[int]]:
    """The questions that the engine and the reference are compared on, as token ids."""
    tokenizer = Tokenizer.from_file(str(hf_folder / "tokenizer.json"))
    template = ChatTemplate.find(hf_folder)
    if template is None:
        raise UnusableModel("This model brings no chat template.")
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = [template.render(chat) for chat in chats]
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def _eos_tokens(hf_folder: Path) -> tuple[int, ...]:
    """Every token that ends an answer: generation_config.json, config.json, the eos token."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        file = hf_folder / name
        stated: Any = json.loads(file.read_text()).get("eos_token_id") if file.exists() else None
        found += stated if isinstance(stated, list) else [] if stated is None else [stated]
    word = json.loads((hf_folder / "tokenizer_config.json").read_text()).get("eos_token")
    word = word.get("content") if isinstance(word, dict) else word
    tokenizer = Tokenizer.from_file(str(hf_folder / "tokenizer.json"))
    token = tokenizer.token_to_id(word) if word else None
    found += [] if token is None else [token]
    if not found:
        raise UnusableModel("This model does not say which token ends an answer.")
    return tuple(dict.fromkeys(found))


def _weight_bytes(arch: Architecture) -> int:
    """Bytes of the weights at 16 bits."""
    sizes = architecture.expected_tensors(arch).values()
    return 2 * sum(math.prod(shape) for shape in sizes)


def _refuse_without_room(arch: Architecture, scratch: Path) -> None:
    """Refuse a model that this machine cannot convert or run."""
    weights = _weight_bytes(arch)
    memory = weights * 3 + cache_bytes(arch) + _PROCESS_BYTES
    free = available_memory_bytes()
    if free is not None and memory > free:
        raise UnusableModel(
            f"This model needs about {memory / _GB:.1f} GB of memory and {free / _GB:.1f} GB are "
            f"free. {UPSTREAM_HINT}"
        )
    disk = shutil.disk_usage(scratch).free
    if weights * 3 > disk:
        raise UnusableModel(
            f"Converting this model needs {weights * 3 / _GB:.1f} GB on the disk of the models' "
            f"folder and {disk / _GB:.1f} GB are free."
        )


def available_memory_bytes() -> int | None:
    """Memory that could be had now, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes.get("MemAvailable")
