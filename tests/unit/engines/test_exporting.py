"""A tuned model as others read it: a merged folder, and a GGUF file that reads back as that."""

import json

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.support.adapters import write_adapter
from tests.support.tiny_models import LLAMA3, TEMPLATE, tiny_config, write_tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from linarite.engines import exporting, gguf_files, installed
from linarite.engines.installed import InstalledModel
from linarite.engines.refusals import UnusableModel
from linarite.engines.tuned import put_tuned

ROOM = 270
"""Rows of the embedding; the tokenizer has fewer words."""
SCALED = LLAMA3 | {"original_max_position_embeddings": 8192}
"""As every Llama 3 model is; of others GGUF does not keep the numbers."""


def write_tokenizer(hf_folder, pre_tokenizer):
    """Bytes, two merges, an end and a word that is one token though no one's turn."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: place for place, letter in enumerate(letters)} | {"he": 256, "hel": 257}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[("h", "e"), ("he", "l")]))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save(str(hf_folder / "tokenizer.json"))


def plain():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def smollm():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain()])


@pytest.fixture
def tuned(tmp_path, request):
    """A tuned model over a tiny one with the test's configuration and way of splitting."""
    changes, splitting = request.param
    made = tmp_path / "made"
    write_tiny_model(made / "hf", tiny_config(vocab_size=ROOM, eos_token_id=258, **changes))
    write_tokenizer(made / "hf", splitting())
    model = InstalledModel("tiny", "chat", made, 512, True, (258,), is_tunable=True)
    (tmp_path / "models").mkdir()
    base = installed.put_in_place(model, tmp_path / "models")
    adapter = write_adapter(tmp_path / "adapter", base.hf_folder)
    return put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")


def each(*rows):
    return pytest.mark.parametrize("tuned", rows, ids=["plain", "scaled", "tied"], indirect=True)


@each(
    ({}, plain),
    ({"rope_scaling": SCALED}, smollm),
    ({"tie_word_embeddings": True}, smollm),
)
def test_a_gguf_file_read_back_is_the_merged_model(tmp_path, tuned):
    exporting.to_gguf(tuned, tmp_path / "tuned.gguf")

    gguf_files.to_hf_folder(tmp_path / "tuned.gguf", tmp_path / "back")

    exporting.to_hf_folder(tuned, tmp_path / "merged")
    merged, back = (load_file(tmp_path / name / "model.safetensors") for name in ("merged", "back"))
    assert merged.keys() == back.keys()
    assert all((merged[name] == back[name]).all() for name in merged)
    stated = json.loads((tmp_path / "back" / "config.json").read_text())
    wanted = json.loads((tmp_path / "merged" / "config.json").read_text())
    same = ("num_hidden_layers", "rope_theta", "tie_word_embeddings", "vocab_size", "eos_token_id")
    assert [stated[name] for name in same] == [wanted[name] for name in same]
    assert (stated["rope_scaling"] is None) == ("rope_scaling" not in wanted)


@each(({}, plain), ({"rope_scaling": SCALED}, smollm), ({"tie_word_embeddings": True}, smollm))
def test_its_tokenizer_gives_the_same_tokens(tmp_path, tuned):
    exporting.to_gguf(tuned, tmp_path / "tuned.gguf")

    gguf_files.to_hf_folder(tmp_path / "tuned.gguf", tmp_path / "back")

    text = "hello 2024 <tool>héllo\n\twörld <end>"
    given, back = (
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        for folder in (tuned.hf_folder, tmp_path / "back")
    )
    assert given.encode(text).ids == back.encode(text).ids
    config = json.loads((tmp_path / "back" / "tokenizer_config.json").read_text())
    assert (config["eos_token"], config["chat_template"]) == ("<end>", TEMPLATE)


@pytest.mark.parametrize("tuned", [({"rope_scaling": SCALED}, plain)], indirect=True)
def test_a_scaled_rotation_is_in_the_file(tmp_path, tuned):
    """Other programs read the divisors: 1 for the fast pairs, the factor of 8 for the slow."""
    exporting.to_gguf(tuned, tmp_path / "tuned.gguf")

    tensors = {one.name: one.data for one in gguf.GGUFReader(tmp_path / "tuned.gguf").tensors}

    divisors = np.array(tensors["rope_freqs.weight"])
    assert len(divisors) == 32
    assert (divisors[0], divisors[-1]) == (1, 8)


@pytest.mark.parametrize("tuned", [({}, lambda: pre_tokenizers.Whitespace())], indirect=True)
def test_a_tokenizer_without_a_form_in_gguf_is_refused(tmp_path, tuned):
    with pytest.raises(UnusableModel, match="take the merged Hugging Face folder"):
        exporting.to_gguf(tuned, tmp_path / "tuned.gguf")

    assert not (tmp_path / "tuned.gguf").exists()


SOME = pytest.mark.parametrize("tuned", [({}, plain)], indirect=True)


@SOME
def test_a_merged_folder_has_the_products_in_its_weights(tmp_path, tuned):
    """Alpha 8 over rank 4: twice the product is added."""
    exporting.to_hf_folder(tuned, tmp_path / "merged")

    before, after = (
        load_file(folder / "model.safetensors") for folder in (tuned.hf_folder, tmp_path / "merged")
    )
    pairs = load_file(tuned.adapter_folder / "adapter_model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    down, up = (pairs[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
    weight = before[f"{name}.weight"].astype(np.float32) + 2 * (up @ down)
    assert after.keys() == before.keys()
    assert (after[f"{name}.weight"] == weight.astype(np.float16)).all()
    assert (after["model.norm.weight"] == before["model.norm.weight"]).all()
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["torch_dtype"] == "float16"
    assert (tmp_path / "merged" / "tokenizer.json").exists()


@SOME
def test_a_base_is_written_as_it_is(tmp_path, tuned):
    exporting.to_hf_folder(installed.read_model(tuned.base_folder), tmp_path / "copy")

    before, after = (
        load_file(folder / "model.safetensors") for folder in (tuned.hf_folder, tmp_path / "copy")
    )
    assert all((before[name] == after[name]).all() for name in before)
