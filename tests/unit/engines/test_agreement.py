"""The engine's form of a model says what the model says, for every family that is served."""

import json

import numpy as np
import pytest
from tests.support.adapters import write_adapter
from tests.support.tiny_models import LLAMA3, tiny_config, write_tiny_model

from linarite.engines import (
    agreement,
    architecture,
    exporting,
    gguf_files,
    installed,
    ir,
    reference,
)
from linarite.engines.installed import InstalledModel
from linarite.engines.refusals import UnusableModel
from linarite.engines.tuned import put_tuned

PROMPTS = [list(range(5, 105)), [9, 8, 7, 6, 5]]


EACH_FAMILY = pytest.mark.parametrize(
    "config",
    [
        pytest.param(tiny_config(), id="llama"),
        pytest.param(tiny_config(rope_scaling=LLAMA3, tie_word_embeddings=True), id="llama3-tied"),
        pytest.param(tiny_config("Qwen2ForCausalLM"), id="qwen2"),
        pytest.param(tiny_config("Qwen3ForCausalLM"), id="qwen3"),
    ],
)


@EACH_FAMILY
def test_the_engine_agrees_with_the_reference(tmp_path, config):
    hf = write_tiny_model(tmp_path / "hf", config)
    arch = gguf_files.to_f16_file(hf, tmp_path / "f16.gguf")
    ir.convert(tmp_path / "f16.gguf", tmp_path / "ir", arch.rotations())

    agreed = agreement.check(arch, hf, tmp_path / "ir", PROMPTS)

    assert agreed >= 0.9


@EACH_FAMILY
def test_with_an_adapter_it_agrees_with_the_merged_weights(tmp_path, config):
    arch, tuned, adapter = with_adapter(tmp_path, config)
    exporting.to_hf_folder(tuned, tmp_path / "merged")

    agreed = agreement.check(arch, tmp_path / "merged", tuned.ir_folder, PROMPTS, adapter)

    assert agreed >= 0.9


def test_with_an_adapter_it_does_not_agree_with_its_base(tmp_path):
    arch, tuned, adapter = with_adapter(tmp_path, tiny_config())

    with pytest.raises(UnusableModel, match="does not answer as this model does"):
        agreement.check(arch, tuned.hf_folder, tuned.ir_folder, PROMPTS, adapter)


def with_adapter(folder, config):
    """A converted model that is tuned: its numbers, the model, its adapter."""
    base = folder / "base"
    write_tiny_model(base / "hf", config)
    arch = gguf_files.to_f16_file(base / "hf", folder / "f16.gguf")
    ir.convert(folder / "f16.gguf", base / "ir", arch.rotations())
    adapter = write_adapter(folder / "adapter", base / "hf", size=0.3)
    installed.put_in_place(
        InstalledModel("tiny", "chat", base, 512, True, (256,), is_tunable=True), folder
    )
    tuned = put_tuned(installed.read_model(folder / "tiny"), adapter, folder / "tuned", "tuned")
    return arch, tuned, adapter


def test_a_wrongly_read_model_is_refused(tmp_path):
    hf = write_tiny_model(tmp_path / "hf", tiny_config())
    arch = gguf_files.to_f16_file(hf, tmp_path / "f16.gguf")
    ir.convert(tmp_path / "f16.gguf", tmp_path / "ir", [speed * 1.5 for speed in arch.rotations()])

    with pytest.raises(UnusableModel, match="does not answer as this model does"):
        agreement.check(arch, hf, tmp_path / "ir", PROMPTS)


def test_the_reference_does_not_look_ahead(tmp_path):
    """What is said after a token depends on the tokens up to it: a longer text changes nothing."""
    hf = write_tiny_model(tmp_path / "hf", tiny_config())
    arch = architecture.from_hf_config(json.loads((hf / "config.json").read_text()))

    short, long = reference.logits(arch, hf, [[1, 2, 3], [1, 2, 3, 4, 5]])

    assert np.allclose(short, long[:3], atol=1e-4)
