"""A tuned model is its base and an adapter: put together, read, refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.support.adapters import write_adapter
from tests.support.tiny_models import tiny_config, write_tiny_model

from linarite.engines import adapters, installed
from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.refusals import ModelMissing, UnusableModel
from linarite.engines.tuned import put_tuned


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def base(tmp_path, models):
    """An installed model as far as tuning looks at it; it has no IR."""
    made = tmp_path / "made"
    write_tiny_model(made / "hf", tiny_config())
    model = InstalledModel(
        "tiny", "chat", made, 512, True, (256,), memory_bytes=9, is_tunable=True,
        source={"tiny.gguf": "abc"},
    )  # fmt: skip
    models.mkdir()
    return installed.put_in_place(model, models)


@pytest.fixture
def adapter(tmp_path, base):
    return write_adapter(tmp_path / "adapter", base.hf_folder)


def test_a_tuned_model_is_its_base_with_an_adapter(tmp_path, base, adapter):
    made = put_tuned(base, adapter, tmp_path / "tuned" / "one", "tiny.ft-1")

    found = read_model(tmp_path / "tuned" / "one")
    assert found == made
    assert (found.id, found.kind, found.context_tokens) == ("tiny.ft-1", "chat", 512)
    assert (found.hf_folder, found.ir_folder) == (base.hf_folder, base.ir_folder)
    assert found.adapter_folder == tmp_path / "tuned" / "one" / "adapter"
    assert base.adapter_folder is None


def test_a_tuned_model_takes_its_changed_layers_beside_its_base(tmp_path, base):
    """Two blocks' 128 x 192 weights at two bytes each are 98,304 bytes."""
    adapter = write_adapter(tmp_path / "adapter", base.hf_folder, layers=("mlp.down_proj",))

    tuned = put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")

    assert tuned.memory_bytes == base.memory_bytes + 2 * 2 * 128 * 192


def test_a_tuned_model_takes_the_place_of_one_in_its_folder(tmp_path, base, adapter):
    for name in ("first", "second"):
        put_tuned(base, adapter, tmp_path / "tuned" / "one", name)

    assert read_model(tmp_path / "tuned" / "one").id == "second"
    assert [path.name for path in (tmp_path / "tuned").iterdir()] == ["one"]


def test_what_is_tuned_from_a_tuned_model_has_the_same_base(tmp_path, base, adapter):
    first = put_tuned(base, adapter, tmp_path / "first", "tiny.ft-1")

    second = put_tuned(first, adapter, tmp_path / "second", "tiny.ft-1.ft-2")

    assert (second.id, second.base_folder) == ("tiny.ft-1.ft-2", base.folder)


def test_without_its_base_a_tuned_model_is_missing(tmp_path, models, base, adapter):
    put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")
    installed.remove_model(models, "tiny")

    with pytest.raises(ModelMissing, match=r"tiny\.ft-1 was tuned from tiny, which is not on this"):
        read_model(tmp_path / "tuned")


def test_a_tuned_model_is_put_together_as_long_as_its_base_is_where_it_was(
    tmp_path, models, base, adapter
):
    before = installed.is_put_together(tmp_path / "tuned")
    put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")
    there = installed.is_put_together(tmp_path / "tuned")

    moved = models.rename(tmp_path / "moved")

    assert (before, there, installed.is_put_together(tmp_path / "tuned")) == (False, True, False)
    again = put_tuned(read_model(moved / "tiny"), adapter, tmp_path / "tuned", "tiny.ft-1")
    assert again.hf_folder == moved / "tiny" / "hf"


def test_over_another_model_under_its_bases_id_it_is_missing(tmp_path, models, base, adapter):
    put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")
    stated = json.loads((base.folder / "model.json").read_text())
    stated["source"] = {"other.gguf": "def"}
    (base.folder / "model.json").write_text(json.dumps(stated))

    with pytest.raises(ModelMissing, match="that another model has replaced"):
        read_model(tmp_path / "tuned")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "IA3"}, "must be of LoRA, not 'IA3'"),
        ({"use_dora": True}, "use_dora True cannot be served"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
    ],
    ids=["kind", "dora", "whole-layers", "ranks"],
)
def test_an_adapter_that_would_be_computed_wrongly_is_refused(tmp_path, base, changes, why):
    adapter = write_adapter(tmp_path / "adapter", base.hf_folder, **changes)

    with pytest.raises(UnusableModel, match=why):
        put_tuned(base, adapter, tmp_path / "tuned" / "one", "tiny.ft-1")

    assert not (tmp_path / "tuned").exists()


def test_an_adapter_of_another_model_is_refused(tmp_path, base):
    other = write_tiny_model(tmp_path / "other", tiny_config(intermediate_size=256))
    adapter = write_adapter(tmp_path / "adapter", other)

    with pytest.raises(UnusableModel, match="was made for another model"):
        put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")


@pytest.mark.parametrize("fault", ["cut", "no numbers", "half", "other tensor", "no config"])
def test_a_broken_adapter_is_refused(tmp_path, base, adapter, fault):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("lora_B.weight"))
    if fault == "no numbers":
        tensors[name][0, 0] = np.nan
    elif fault == "half":
        del tensors[name]
    elif fault == "other tensor":
        tensors["base_model.model.lm_head.weight"] = tensors[name]
    save_file(tensors, file)
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif fault == "no config":
        (adapter / "adapter_config.json").unlink()

    with pytest.raises(UnusableModel):
        put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")


@pytest.mark.parametrize(
    ("config", "scale"),
    [({}, 2.0), ({"use_rslora": True}, 4.0), ({"lora_alpha": 2}, 0.5)],
    ids=["plain", "root", "small"],
)
def test_products_are_multiplied_by_alpha_over_rank(tmp_path, base, config, scale):
    """Alpha 8 over rank 4 is 2; over the rank's root, 4; alpha 2 over 4 is a half."""
    adapter = write_adapter(tmp_path / "adapter", base.hf_folder, **config)

    assert adapters.scale(adapter) == scale


def test_what_is_moved_in_keeps_its_source(tmp_path, base, adapter):
    put_tuned(base, adapter, tmp_path / "tuned", "tiny.ft-1")

    shutil.rmtree(adapter)

    assert read_model(tmp_path / "tuned").adapter_folder is not None
