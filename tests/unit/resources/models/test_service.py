from pathlib import Path

import pytest
from tests.support.tuned import TunedInMemory

from linarite.errors import NotFound
from linarite.resources.models.records import EVERYONE, ModelRecord
from linarite.resources.models.service import Models
from linarite.settings import Upstream

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


LOCAL = ModelRecord("local", "chat", path=Path("local"), context_tokens=99, tunable=True)
TUNED = ModelRecord("local.ft-1", "chat", path=Path("tuned/1"), base="local", fine_tune="ftjob-1")
STEP = ModelRecord(
    "local.ft-1:ckpt-step-2", "chat", path=Path("tuned/2"), base="local", checkpoint="ftchkpt-2"
)


def with_tuned(*installed, **aliases):
    """Models of which the resource `ours` tuned two from `local`."""
    return Models(lambda: installed, (), aliases, TunedInMemory({"ours": (TUNED, STEP)}))


def test_what_was_tuned_is_listed_after_the_bases():
    listed = with_tuned(LOCAL, BIG).list("ours")

    assert [listing.id for listing in listed] == [LOCAL.id, BIG.id, TUNED.id, STEP.id]


def test_what_was_tuned_belongs_to_its_resource():
    models = with_tuned(LOCAL, gpt=TUNED.id)

    assert [listing.id for listing in models.list("theirs")] == [LOCAL.id]
    for name in (TUNED.id, STEP.id, STEP.checkpoint, "gpt"):
        assert models.find("theirs", name) is None
        assert models.find_everyones(name) is None
    assert models.everyones() == [LOCAL]


@pytest.mark.parametrize("resource", ["ours", EVERYONE], ids=["its own", "everyone's"])
def test_what_was_tuned_is_found_by_its_names(resource):
    models = with_tuned(LOCAL, gpt=TUNED.id)

    found = [models.get(resource, name).model.id for name in (TUNED.id, "gpt", STEP.checkpoint)]

    assert found == [TUNED.id, TUNED.id, STEP.id]


def test_what_was_tuned_is_what_its_base_is():
    found = with_tuned(LOCAL).get("ours", TUNED.id).model

    assert (found.context_tokens, found.tokenizer, found.tunable) == (99, Path("local/hf"), True)
    assert (found.path, found.base, found.fine_tune) == (TUNED.path, "local", "ftjob-1")


def test_what_was_tuned_outlives_its_base():
    assert with_tuned(BIG).find("ours", TUNED.id) == TUNED


def test_a_base_hides_what_was_tuned_under_its_name():
    other = ModelRecord(TUNED.id, "chat")

    assert with_tuned(LOCAL, other).find("ours", TUNED.id) is other


UPSTREAM = Upstream(base_url="http://vllm/v1", model="org/local", adapters=True)


def on_upstream(upstream):
    """`local` is installed for tuning, and served by an upstream."""
    declared = ModelRecord("local", "chat", upstream=upstream)
    return Models(lambda: [LOCAL], [declared], {}, TunedInMemory({"ours": [TUNED]}))


def test_an_upstream_that_takes_adapters_can_be_tuned_and_serves_what_was_tuned():
    models = on_upstream(UPSTREAM)

    base, tuned = models.get("ours", "local").model, models.get("ours", TUNED.id).model

    assert (base.path, base.tunable, base.able.fine_tune) == (LOCAL.path, True, True)
    assert tuned.upstream == UPSTREAM.model_copy(update={"model": TUNED.id})
    assert (tuned.path, tuned.tokenizer) == (TUNED.path, Path("local/hf"))


def test_what_an_upstream_does_not_take_is_served_here():
    models = on_upstream(Upstream(base_url="http://theirs/v1"))

    base, tuned = models.get("ours", "local").model, models.get("ours", TUNED.id).model

    assert (base.path, base.tunable, base.able.fine_tune) == (None, False, False)
    assert (tuned.path, tuned.upstream) == (TUNED.path, None)


def test_a_model_of_the_settings_can_be_tuned_once_it_was_added():
    declared = ModelRecord("local", "chat", path=LOCAL.path)

    found = Models(lambda: [LOCAL], [declared]).get("r", "local").model

    assert (found.tunable, found.context_tokens) == (True, 99)
