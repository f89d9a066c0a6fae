"""The tokenizer inside a GGUF file, rebuilt for the `tokenizers` library."""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from linarite.engines.refusals import UnusableModel

_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_WORDS = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
_CONTROL, _USER_DEFINED = 3, 4


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
