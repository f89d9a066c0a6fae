import pytest

from linarite.errors import NotFound
from linarite.resources.models.records import ModelRecord
from linarite.resources.models.service import Models

BIG, SMALL = ModelRecord("org/big:7b-v1.5", "chat"), ModelRecord("small", "embedding")


def models(*, installed=(BIG,), declared=(SMALL,), **aliases):
    return Models(lambda: installed, declared, aliases)


def test_installed_models_are_listed_before_declared_ones():
    assert [listing.id for listing in models().list("r")] == [BIG.id, SMALL.id]


def test_an_alias_is_listed_under_its_own_name_with_its_model():
    listed = models(**{"gpt-4o-mini": "small"}).list("r")

    assert (listed[-1].id, listed[-1].model) == ("gpt-4o-mini", SMALL)


def test_an_alias_of_a_deployment_is_no_model():
    assert len(models(**{"gpt-4o-mini": "chat"}).list("r")) == 2


def test_a_model_is_found_by_its_id_and_by_an_alias():
    both = models(**{"gpt-4o-mini": BIG.id})

    assert both.get("r", BIG.id).model is BIG
    assert both.get("r", "gpt-4o-mini").model is BIG


def test_a_model_hides_an_alias_of_its_name():
    hidden = models(small=BIG.id)

    assert hidden.find("r", "small") is SMALL
    assert [listing.id for listing in hidden.list("r")] == [BIG.id, SMALL.id]


def test_a_declared_model_takes_the_place_of_an_installed_one():
    other = ModelRecord("small", "chat")

    assert models(installed=(other,)).find("r", "small") is SMALL


def test_a_model_installed_while_the_server_runs_is_seen():
    installed = []
    seen = Models(lambda: installed)
    assert seen.find("r", "small") is None

    installed.append(SMALL)

    assert seen.find("r", "small") is SMALL


def test_an_unknown_model_is_not_found():
    with pytest.raises(NotFound, match="'nothing'"):
        models().get("r", "nothing")
