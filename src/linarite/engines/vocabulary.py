"""What each token writes: what the engine's library must know to hold an answer to a structure.

The library takes it out of a detokenizer, a graph of its own kind. That graph is made of
``tokenizer.json`` whenever an engine starts, in a tenth of a second, and kept nowhere.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""How tokenizers of SentencePiece's kind write a space."""


def words_of(hf_folder: Path) -> list[bytes] | None:
    """The bytes that each token id stands for, or None where its tokenizer is of another kind.

    Tokens that write nothing (ends, roles, ids nobody uses) are empty: no structure admits them.
    There are as many as rows of the model's embedding.
    """
    stated: dict[str, Any] = json.loads((hf_folder / "tokenizer.json").read_text())
    kinds = set(_kinds(stated["decoder"]))
    vocabulary = stated["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {word: place for place, (word, _) in enumerate(vocabulary)}
    if "ByteLevel" in kinds:
        alphabet = _byte_alphabet()
        written = {place: _of_byte_level(word, alphabet) for word, place in vocabulary.items()}
    elif "ByteFallback" in kinds or "Metaspace" in kinds:
        written = {place: _of_sentencepiece(word) for word, place in vocabulary.items()}
    else:
        return None
    for token in stated["added_tokens"]:
        written[token["id"]] = b"" if token["special"] else token["content"].encode()
    config = hf_folder / "config.json"
    rows: int = json.loads(config.read_text())["vocab_size"] if config.exists() else 0
    return [written.get(place, b"") for place in range(max(rows, max(written) + 1))]


def tokenizer(words: Sequence[bytes]) -> Any:
    """The library's tokenizer that knows these words; it can read tokens, not write them."""
    import openvino
    import openvino_genai

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(_detokenizer(words), f"{folder}/openvino_detokenizer.xml")
        return openvino_genai.Tokenizer(folder)


def _detokenizer(words: Sequence[bytes]) -> Any:
    """A graph from token ids to text, whose middle holds the words."""
    from openvino import Model, PartialShape, Type, op, opset15
    from openvino_tokenizers import _get_factory
    from openvino_tokenizers.utils import create_string_constant_node

    make = _get_factory().create
    ids = op.Parameter(Type.i64, PartialShape(["?", "?"]))
    plain = opset15.convert(ids, "i32").outputs()
    decoder = make("VocabDecoder", [*plain, *create_string_constant_node(words)])
    decoder.set_friendly_name("VocabDecoder")  # by which the library finds it
    *pieces, letters = decoder.outputs()
    joined = make("FuzeRagged", pieces).outputs()
    text = opset15.string_tensor_pack(*joined, letters)
    return Model(text.outputs(), [ids], "detokenizer")


def _kinds(stated: dict[str, Any] | None) -> Iterator[str]:
    """The kinds of a decoder and of those that it is made of."""
    if stated is not None:
        yield stated["type"]
        for one in stated.get("decoders", ()):
            yield from _kinds(one)


def _byte_alphabet() -> dict[str, int]:
    """The letters that stand for bytes: printable ones for themselves, then those from 256 on."""
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in itself]
    return {chr(byte): byte for byte in itself} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


def _of_byte_level(word: str, alphabet: dict[str, int]) -> bytes:
    known = all(letter in alphabet for letter in word)
    return bytes(alphabet[letter] for letter in word) if known else word.encode()


def _of_sentencepiece(word: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(word)
    return bytes([int(byte[1], 16)]) if byte else word.replace(_SPACE, " ").encode()
