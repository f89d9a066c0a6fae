"""Each token id stands for what it adds to a text, in the engine's library too."""

import json
import re

import pytest
from tests.support.embedded import CHAT, pulled
from tests.support.tiny_models import tiny_config, write_tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from linarite.engines import adding
from linarite.engines.pipeline import Pipeline
from linarite.engines.sampling import Sampling, Structure
from linarite.engines.vocabulary import words_of


def save(tokenizer, folder):
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.model
def test_the_embedded_models_words_are_what_its_tokens_are_read_as():
    folder = pulled(CHAT).folder / "hf"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    special = {token["id"] for token in added if token["special"]}

    words = words_of(folder)

    assert len(words) == tokenizer.get_vocab_size()
    assert [word.decode(errors="replace") for word in words] == [
        "" if place in special else tokenizer.decode([place]) for place in range(len(words))
    ]


def test_added_words_stand_for_themselves_and_special_ones_for_nothing(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "Ġé": 1, "Ã": 2}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(["<tool> é"])
    tokenizer.add_special_tokens(["<end>"])

    assert words_of(save(tokenizer, tmp_path)) == [
        b"a",
        b" \xe9",
        b"\xc3",
        "<tool> é".encode(),
        b"",
    ]


def test_sentencepiece_words_are_read_with_their_spaces_and_bytes(tmp_path):
    vocabulary = {"<unk>": 0, "▁the": 1, "<0x0A>": 2, "é": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer.add_special_tokens(["<unk>"])

    assert words_of(save(tokenizer, tmp_path)) == [b"", b" the", b"\n", "é".encode()]


def test_words_of_another_kind_of_tokenizer_are_not_guessed(tmp_path):
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1}))
    tokenizer.decoder = decoders.WordPiece()

    assert words_of(save(tokenizer, tmp_path)) is None


@pytest.mark.parametrize("rows", [257, 300], ids=["as-many-as-words", "more-than-words"])
def test_an_answer_of_a_users_model_keeps_to_a_structure(tmp_path, rows):
    folder = write_tiny_model(tmp_path / "tiny", tiny_config(vocab_size=rows))
    (model,) = adding.add([str(folder)], tmp_path / "models")
    words = words_of(model.hf_folder)
    pipeline = Pipeline.load(model.ir_folder, slots=4, cache_bytes=1 << 30, words=words)
    structure = Structure("grammar", 'root ::= "<" [é-ü]{3,9} ">"')

    handles = [
        pipeline.add([65, 66], Sampling(max_tokens=40, eos=(256,), seed=seed, structure=structure))
        for seed in range(4)
    ]
    said = [b"" for _ in handles]
    while pipeline.is_busy():
        pipeline.step()
        for place, handle in enumerate(handles):
            said[place] += b"".join(words[token] for token in handle.read().tokens)

    assert all(re.fullmatch("<[é-ü]{3,9}>", one.decode()) for one in said)
