"""The tokenizer inside a GGUF file: rebuilt for the `tokenizers` library, and the way back."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from linarite.engines.refusals import UnusableModel
from linarite.engines.templates import template_source

_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_WORDS = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_SPLITS = ("smollm", "llama-bpe", "qwen2", "gpt-2")


def tokenizer_of(fields: dict[str, Any]) -> Tokenizer:
    """Rebuild the tokenizer from a GGUF file's metadata.

    Raises:
        UnusableModel: it splits text in a way that is not known here.
    """
    kind = fields.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise _unknown(f"a tokenizer of the kind {kind!r}")
    words: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    model = models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=merges)
    tokenizer = Tokenizer(model)
    split = str(fields.get("tokenizer.ggml.pre", "default"))
    tokenizer.pre_tokenizer = _pre_tokenizer(split)
    if split == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = fields["tokenizer.ggml.token_type"]
    special = [words[at] for at, kind in enumerate(kinds) if kind == _CONTROL]
    tokenizer.add_special_tokens([_token(word, special=True) for word in special])
    defined = [words[at] for at, kind in enumerate(kinds) if kind == _USER_DEFINED]
    tokenizer.add_tokens([_token(word, special=False) for word in defined])
    if fields.get("tokenizer.ggml.add_bos_token"):
        _put_bos_first(tokenizer, words, int(fields["tokenizer.ggml.bos_token_id"]))
    return tokenizer


def tokenizer_config(fields: dict[str, Any], context_tokens: int) -> dict[str, Any]:
    """The ``tokenizer_config.json`` beside it."""
    words: list[str] = fields["tokenizer.ggml.tokens"]

    def word(name: str) -> str | None:
        at = fields.get(f"tokenizer.ggml.{name}_token_id")
        return None if at is None else words[at]

    eos = word("eos")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": word("bos"),
        "eos_token": eos,
        "pad_token": word("padding") or eos,
        "unk_token": word("unknown"),
        "add_bos_token": bool(fields.get("tokenizer.ggml.add_bos_token")),
        "model_max_length": context_tokens,
        "chat_template": fields.get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
    }


def tokenizer_fields(hf_folder: Path, vocabulary: int) -> dict[str, Any]:
    """The metadata of a GGUF file for the tokenizer of a Hugging Face folder.

    Args:
        hf_folder: holds ``tokenizer.json`` and ``tokenizer_config.json``.
        vocabulary: rows of the model's embedding; those without a word get a stand-in.

    Raises:
        UnusableModel: GGUF has no form for this tokenizer that is known here.
    """
    stated: dict[str, Any] = json.loads((hf_folder / "tokenizer.json").read_text())
    config: dict[str, Any] = json.loads((hf_folder / "tokenizer_config.json").read_text())
    tokenizer = Tokenizer.from_file(str(hf_folder / "tokenizer.json"))
    if stated["model"].get("type") != "BPE" or tokenizer.get_vocab_size() > vocabulary:
        raise _not_written("is not byte-pair encoding")
    words = [f"[PAD{place}]" for place in range(vocabulary)]
    kinds = [_UNUSED] * vocabulary
    for word, place in stated["model"]["vocab"].items():
        words[place], kinds[place] = word, _NORMAL
    for token in stated["added_tokens"]:
        kinds[token["id"]] = _CONTROL if token["special"] else _USER_DEFINED
        words[token["id"]] = token["content"]
    merges = stated["model"]["merges"]
    fields: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _split_of(stated["pre_tokenizer"]),
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in merges],
        "tokenizer.chat_template": template_source(hf_folder),
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        word = config.get(f"{name}_token")
        word = word.get("content") if isinstance(word, dict) else word
        fields[f"tokenizer.ggml.{key}_token_id"] = None if word is None else words.index(word)
    bos = fields["tokenizer.ggml.bos_token_id"]
    fields["tokenizer.ggml.add_bos_token"] = tokenizer.encode("a").ids[0] == bos
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _split_of(stated: dict[str, Any] | None) -> str:
    """GGUF's name for a way to split text, as ``tokenizer.json`` states it."""
    for split in _SPLITS:
        if _without_offsets(json.loads(_pre_tokenizer(split).__getstate__())) == _without_offsets(
            stated
        ):
            return split
    raise _not_written("splits text in a way that is not known here")


def _without_offsets(stated: Any) -> Any:
    """What is stated, but for the report of offsets, which changes no token."""
    if isinstance(stated, dict):
        kept = {key: value for key, value in stated.items() if key != "trim_offsets"}
        return {key: _without_offsets(value) for key, value in kept.items()}
    return [_without_offsets(one) for one in stated] if isinstance(stated, list) else stated


def _not_written(how: str) -> UnusableModel:
    return UnusableModel(
        f"This model's tokenizer {how}, so that no GGUF file can be written of it; take the merged "
        "Hugging Face folder, which llama.cpp's own converter reads."
    )


def _pre_tokenizer(split: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if split == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return pre_tokenizers.Sequence([digits, words])
    if split in ("llama-bpe", "llama3", "smaug-bpe"):
        return pre_tokenizers.Sequence([_splitter(_LLAMA3_WORDS), byte_level])
    if split == "qwen2":
        return pre_tokenizers.Sequence([_splitter(_QWEN2_WORDS), byte_level])
    if split in ("gpt-2", "gpt2"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raise _unknown(f"text split the way of {split!r}")


def _splitter(words: str) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(words), behavior="isolated", invert=False)


def _put_bos_first(tokenizer: Tokenizer, words: list[str], bos: int) -> None:
    tokenizer.post_processor = TemplateProcessing(
        single=f"{words[bos]} $A", special_tokens=[(words[bos], bos)]
    )


def _token(word: str, *, special: bool) -> AddedToken:
    return AddedToken(word, special=special, normalized=False)


def _unknown(what: str) -> UnusableModel:
    return UnusableModel(
        f"This GGUF file has {what}, which cannot be rebuilt exactly. Add the model's Hugging "
        "Face folder (safetensors and tokenizer.json) instead, or serve it with llama-server."
    )
