"""A model of one's own is taken when the engine answers as it does, and refused otherwise."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.tiny_models import tiny_config, write_tiny_model

from linarite.engines import adding, installed
from linarite.engines.installed import find_model, list_models
from linarite.engines.refusals import UnusableModel


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def test_a_hugging_face_folder_becomes_a_model(tmp_path, models):
    folder = write_tiny_model(tmp_path / "Tiny-Llama", tiny_config())
    stages = []

    (model,) = adding.add([str(folder)], models, report=lambda told: stages.append(told.stage))

    assert find_model(models, "tiny-llama") == model
    assert (model.kind, model.context_tokens, model.eos_token_ids) == ("chat", 512, (256,))
    assert model.agreement is not None
    assert model.agreement >= 0.9
    assert stages == ["reading", "converting", "comparing", "done"]
    assert [file.name for file in models.iterdir()] == ["tiny-llama"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (tiny_config() | {"architectures": ["MambaForCausalLM"]}, "architecture MambaForCausalLM"),
        (tiny_config(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "rope scaling 'yarn'"),
        (tiny_config(hidden_act="gelu"), "activation 'gelu'"),
        (tiny_config(attention_bias=True), "attention biases"),
        (tiny_config(hidden_size=1 << 26), "GB of memory"),
        (tiny_config(num_hidden_layers=3), "weights lack model.layers.2"),
        (tiny_config(num_hidden_layers=1), "no use for the tensor model.layers.1"),
        (tiny_config(intermediate_size=200), "has the shape"),
    ],
    ids=["architecture", "rope", "activation", "bias", "memory", "lacking", "surplus", "shape"],
)
def test_a_model_that_would_be_served_wrongly_is_refused(tmp_path, models, config, why):
    folder = write_tiny_model(tmp_path / "tiny", tiny_config())
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(UnusableModel, match=why):
        adding.add([str(folder)], models)

    assert list(models.iterdir()) == []


def test_a_model_without_a_chat_template_is_refused_with_another_way(tmp_path, models):
    folder = write_tiny_model(tmp_path / "tiny", tiny_config(), template=False)

    with pytest.raises(UnusableModel, match=r"no chat template.*vllm serve.*llama-server"):
        adding.add([str(folder)], models)


def test_weights_that_are_not_safetensors_are_not_read(tmp_path, models):
    folder = write_tiny_model(tmp_path / "tiny", tiny_config())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(UnusableModel, match=r"no \*.safetensors file"):
        adding.add([str(folder)], models)


@pytest.mark.parametrize("source", ["nothing.gguf", "no-such-folder", "a/b/c", "README.md"])
def test_what_is_no_model_is_refused(models, source):
    with pytest.raises(UnusableModel, match="neither"):
        adding.add([source], models)


def test_a_package_that_is_not_pinned_is_refused(tmp_path, models):
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")

    with pytest.raises(UnusableModel, match="not a package of an embedded model"):
        adding.add([str(wheel)], models)


def test_a_cut_gguf_file_is_refused(tmp_path, models):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")

    with pytest.raises(UnusableModel, match="not a whole GGUF file"):
        adding.add([str(file)], models)


def test_a_model_that_is_added_again_replaces_the_first(tmp_path, models):
    scratch = models / ".scratch"
    for content in ("one", "two"):
        made = scratch / content
        made.mkdir(parents=True)
        (made / "hf").write_text(content)
        model = installed.InstalledModel("m", "chat", made, 10, True)
        installed.put_in_place(model, models)

    assert (models / "m" / "hf").read_text() == "two"


def test_a_removed_model_is_gone(tmp_path, models):
    made = models / ".scratch"
    made.mkdir(parents=True)
    installed.put_in_place(installed.InstalledModel("a/b", "chat", made, 10, True), models)

    assert [model.id for model in list_models(models)] == ["a/b"]
    assert installed.remove_model(models, "a/b")
    assert not installed.remove_model(models, "a/b")
    assert list(models.iterdir()) == []


def test_one_at_a_time_installs_a_model(models):
    inside: list[int] = []
    most = []

    def install(number: int) -> None:
        with installed.installing(models, "m"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(install, range(200)))

    assert most == [1] * 200
    assert list(models.iterdir()) == []
