"""Deployments as rows, on both databases: whose they are, what may change, where requests go."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from tests.support.tuned import TunedInMemory

from linarite.errors import (
    DeploymentNotFound,
    Forbidden,
    InvalidPayload,
    ItemDoesAlreadyExist,
    NotFound,
    QuotaExceeded,
)
from linarite.resources.deployments import repository
from linarite.resources.deployments.service import DEFAULT_TOKEN_LIMIT, Deployments
from linarite.resources.models.records import EVERYONE, ModelRecord
from linarite.resources.models.service import Models
from linarite.settings import DeploymentEntry, Upstream
from linarite.storage.database import Database
from linarite.wire.deployments import (
    ArmDeploymentPatch,
    ArmDeploymentRequest,
    DeploymentCreation,
    DeploymentUpdate,
)

OURS, THEIRS = "ours", "theirs"
CHAT, OTHER = ModelRecord("org/chat-model", "chat"), ModelRecord("other", "chat")


class Clock:
    """A clock that a test sets."""

    seconds = 1_000

    def now(self) -> int:
        return self.seconds


class System:
    """Deployments over a real database, with models that a test adds and takes away."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock = database, Clock()
        self.models = [CHAT, OTHER]
        self.tuned = TunedInMemory()

    def deployments(self, *declared: DeploymentEntry, **aliases: str) -> Deployments:
        models = Models(lambda: self.models, (), aliases, self.tuned)
        made = Deployments(self.database, models, self.clock, declared)
        made.sync()
        return made


@pytest.fixture
def system(database_url: str) -> Iterator[System]:
    database = Database(database_url)
    database.migrate()
    yield System(database)
    database.close()


def chat(name="chat", **more):
    return DeploymentCreation(id=name, model=CHAT.id, **more)


def names(deployments, resource):
    return {deployed.record.id for deployed in deployments.list(resource)}


def test_every_model_is_deployed_under_its_own_name(system):
    target = system.deployments().look_up(OURS, CHAT.id)

    assert target.model is CHAT
    assert target.enqueued_token_limit == DEFAULT_TOKEN_LIMIT


def test_the_settings_deploy_for_every_resource(system):
    entry = DeploymentEntry(name="chat", model=CHAT.id, enqueued_token_limit=5)
    deployments = system.deployments(entry)

    for resource in (OURS, THEIRS):
        assert deployments.look_up(resource, "chat").enqueued_token_limit == 5


def test_the_settings_say_how_fast_it_answers_and_whether_one_at_a_time(system):
    entry = DeploymentEntry(name="chat", model=CHAT.id, requests_per_minute=6, deterministic=True)
    first = system.deployments(entry).look_up(OURS, "chat").deployment

    changed = DeploymentEntry(name="chat", model=CHAT.id, tokens_per_minute=1000)
    second = system.deployments(changed).look_up(OURS, "chat").deployment

    told = [(one.requests_per_minute, one.tokens_per_minute) for one in (first, second)]
    assert told == [(6, None), (None, 1000)]
    assert (first.deterministic, second.deterministic) == (True, False)


def test_a_new_start_follows_the_settings(system):
    system.deployments(
        DeploymentEntry(name="stays", model=CHAT.id), DeploymentEntry(name="goes", model=CHAT.id)
    )
    system.clock.seconds += 50

    deployments = system.deployments(
        DeploymentEntry(name="stays", model=OTHER.id), DeploymentEntry(name="new", model=CHAT.id)
    )

    assert names(deployments, OURS) == {CHAT.id, OTHER.id, "stays", "new"}
    stays = deployments.get(OURS, "stays").record
    assert (stays.model, stays.created_at, stays.updated_at) == (OTHER.id, 1_000, 1_050)


def test_a_new_start_leaves_what_did_not_change(system):
    system.deployments()
    system.clock.seconds += 50

    assert system.deployments().get(OURS, CHAT.id).record.updated_at == 1_000


def test_starts_at_the_same_moment_do_not_mind_each_other(system):
    starts = [threading.Thread(target=system.deployments) for _ in range(4)]

    for start in starts:
        start.start()
    for start in starts:
        start.join()

    assert len(system.deployments().list(OURS)) == 2


def test_settings_that_deploy_an_unknown_model_stop_the_start(system):
    with pytest.raises(InvalidPayload, match="'nothing' does not exist") as refused:
        system.deployments(DeploymentEntry(name="chat", model="nothing"))

    assert refused.value.target == "deployments.chat.model"


def test_what_a_resource_made_is_its_own(system):
    deployments = system.deployments()
    deployments.create(OURS, chat(enqueued_token_limit=7))

    assert deployments.look_up(OURS, "chat").enqueued_token_limit == 7
    assert "chat" not in names(deployments, THEIRS)
    with pytest.raises(DeploymentNotFound):
        deployments.look_up(THEIRS, "chat")
    for act in (deployments.get, deployments.delete):
        with pytest.raises(NotFound):
            act(THEIRS, "chat")


def test_two_resources_may_use_the_same_name(system):
    deployments = system.deployments()
    deployments.create(OURS, chat())
    deployments.create(THEIRS, DeploymentCreation(id="chat", model=OTHER.id))

    assert deployments.look_up(OURS, "chat").model is CHAT
    assert deployments.look_up(THEIRS, "chat").model is OTHER


def test_a_name_is_made_where_none_is_chosen(system):
    made = system.deployments().create(OURS, DeploymentCreation(model=CHAT.id))

    assert made.record.id.startswith("deployment-")


@pytest.mark.parametrize("taken", ["chat", "declared"])
def test_a_name_is_taken_once(system, taken):
    deployments = system.deployments(DeploymentEntry(name="declared", model=CHAT.id))
    deployments.create(OURS, chat())

    with pytest.raises(ItemDoesAlreadyExist):
        deployments.create(OURS, chat(taken))


def test_of_two_at_the_same_moment_one_gets_the_name(system):
    deployments, refused = system.deployments(), []

    def create():
        try:
            deployments.create(OURS, chat())
        except ItemDoesAlreadyExist as error:
            refused.append(error)

    racing = [threading.Thread(target=create) for _ in range(4)]
    for one in racing:
        one.start()
    for one in racing:
        one.join()

    assert len(refused) == 3


def test_an_unknown_model_is_not_deployed(system):
    with pytest.raises(InvalidPayload, match="'nothing'"):
        system.deployments().create(OURS, DeploymentCreation(id="chat", model="nothing"))


def test_an_alias_is_deployed_as_the_model_it_stands_for(system):
    deployments = system.deployments(**{"gpt-4o": CHAT.id})

    made = deployments.create(OURS, DeploymentCreation(id="chat", model="gpt-4o"))

    assert made.record.model == CHAT.id


def test_a_resource_makes_only_so_many(system):
    deployments = replace(system.deployments(), most=2)
    deployments.create(OURS, chat("a"))
    deployments.create(OURS, chat("b"))

    with pytest.raises(QuotaExceeded, match="at most 2"):
        deployments.create(OURS, chat("c"))
    deployments.create(THEIRS, chat("c"))


def test_an_update_changes_what_it_names_and_counts_at_once(system):
    deployments = system.deployments()
    deployments.create(OURS, chat(enqueued_token_limit=7))
    deployments.look_up(OURS, "chat")
    system.clock.seconds += 5

    updated = deployments.update(OURS, "chat", DeploymentUpdate(model=OTHER.id)).record

    assert (updated.model, updated.enqueued_token_limit) == (OTHER.id, 7)
    assert (updated.created_at, updated.updated_at) == (1_000, 1_005)
    assert deployments.recall(OURS, "chat") is None


def test_new_tags_keep_what_another_changes_at_the_same_moment(system):
    deployments = system.deployments()
    model = {"name": CHAT.id, "version": "1"}
    put = ArmDeploymentRequest.model_validate({"properties": {"model": model}})
    deployments.put(OURS, "chat", put)
    patch = ArmDeploymentPatch.model_validate({"tags": {"team": "a"}})
    patching = threading.Thread(target=deployments.patch, args=(OURS, "chat", patch))

    with system.database.transaction() as tx:
        repository.update(tx, OURS, "chat", {"arm": {"version": "2"}})
        patching.start()
        patching.join(0.3)
        assert patching.is_alive()  # it waits for this transaction
    patching.join()

    changed = deployments.get(OURS, "chat").record
    assert changed.arm == {"version": "2", "tags": {"team": "a"}}


def test_a_deleted_deployment_answers_nothing(system):
    deployments = system.deployments()
    deployments.create(OURS, chat())
    deployments.look_up(OURS, "chat")

    deployments.delete(OURS, "chat")

    assert deployments.recall(OURS, "chat") is None
    with pytest.raises(DeploymentNotFound):
        deployments.look_up(OURS, "chat")


def test_what_the_operator_declared_cannot_be_changed(system):
    deployments = system.deployments(DeploymentEntry(name="declared", model=CHAT.id))
    put = ArmDeploymentRequest.model_validate({"properties": {"model": {"name": CHAT.id}}})

    for change in (
        lambda: deployments.update(OURS, "declared", DeploymentUpdate(model=OTHER.id)),
        lambda: deployments.delete(OURS, "declared"),
        lambda: deployments.put(OURS, "declared", put),
        lambda: deployments.patch(OURS, "declared", ArmDeploymentPatch()),
    ):
        with pytest.raises(Forbidden, match="operator"):
            change()


def test_a_deployment_whose_model_went_away_is_told_apart(system):
    deployments = system.deployments()
    deployments.create(OURS, DeploymentCreation(id="mine", model=OTHER.id))

    system.models.remove(OTHER)

    assert deployments.get(OURS, "mine").model is None
    assert {one.record.id for one in deployments.list(OURS) if one.model is None} == {
        "mine",
        OTHER.id,
    }
    with pytest.raises(DeploymentNotFound):
        deployments.look_up(OURS, "mine")


def test_a_model_installed_while_the_server_runs_is_deployed_when_asked_for(system):
    deployments = system.deployments()
    system.models.append(new := ModelRecord("new", "chat"))

    assert deployments.look_up(OURS, "new").model is new


def test_a_batch_may_be_the_first_to_ask_for_such_a_model(system):
    deployments = system.deployments(**{"gpt-4o": "new"})
    system.models.append(new := ModelRecord("new", "chat"))

    with system.database.reading() as connection:
        asked, by_alias = (
            deployments.resolve(connection, OURS, name) for name in ("new", "gpt-4o")
        )

    assert asked.model is by_alias.model is new
    assert asked.deployment.id == by_alias.deployment.id == "new"


def test_such_a_model_is_listed_and_found_without_being_asked(system):
    deployments = system.deployments()
    system.models.append(ModelRecord("new", "chat"))
    listed = {one.record.id for one in deployments.list(OURS)}
    system.models.append(ModelRecord("newer", "chat"))

    found = deployments.get(OURS, "newer")

    assert listed == {CHAT.id, OTHER.id, "new"}
    assert (found.record.id, found.record.is_declared) == ("newer", True)


def test_a_model_does_not_stand_in_for_a_deployment_of_its_name(system):
    deployments = system.deployments()
    deployments.create(OURS, DeploymentCreation(id="new", model=OTHER.id))
    system.models[:] = [CHAT, ModelRecord("new", "chat")]

    with pytest.raises(DeploymentNotFound):
        deployments.look_up(OURS, "new")


@pytest.mark.parametrize("stands_for", [CHAT.id, "declared"], ids=["a model", "a deployment"])
def test_an_alias_goes_to_the_deployment(system, stands_for):
    deployments = system.deployments(
        DeploymentEntry(name="declared", model=CHAT.id), **{"gpt-4o": stands_for}
    )

    assert deployments.look_up(OURS, "gpt-4o").deployment.id == stands_for


def test_an_own_deployment_goes_before_an_alias(system):
    deployments = system.deployments(**{"gpt-4o": CHAT.id})
    deployments.create(OURS, DeploymentCreation(id="gpt-4o", model=OTHER.id))

    assert deployments.look_up(OURS, "gpt-4o").model is OTHER
    assert deployments.look_up(THEIRS, "gpt-4o").model is CHAT


def test_an_own_deployment_goes_before_a_later_declared_one(system):
    system.deployments().create(OURS, DeploymentCreation(id="chat", model=OTHER.id))

    deployments = system.deployments(DeploymentEntry(name="chat", model=CHAT.id))

    assert deployments.look_up(OURS, "chat").model is OTHER
    assert [d.record.model for d in deployments.list(OURS) if d.record.id == "chat"] == [OTHER.id]


def test_a_put_creates_then_replaces(system):
    deployments = system.deployments()
    properties = {"model": {"name": CHAT.id, "version": "3"}, "raiPolicyName": "strict"}
    body = {"sku": {"name": "GlobalStandard", "capacity": 5}, "properties": properties}

    made, is_new = deployments.put(OURS, "chat", ArmDeploymentRequest.model_validate(body))
    body = {"properties": {"model": {"name": OTHER.id}}, "tags": {"team": "a"}}
    changed, is_new_again = deployments.put(OURS, "chat", ArmDeploymentRequest.model_validate(body))

    assert (is_new, made.record.sku, made.record.capacity) == (True, "GlobalStandard", 5)
    assert made.record.arm == {"format": "OpenAI", "version": "3", "raiPolicyName": "strict"}
    assert (is_new_again, changed.record.model, changed.record.sku) == (False, OTHER.id, "Standard")
    assert changed.record.arm == {"format": "OpenAI", "tags": {"team": "a"}}


def test_a_put_keeps_the_token_limit(system):
    deployments = system.deployments()
    deployments.create(OURS, chat(enqueued_token_limit=7))
    put = ArmDeploymentRequest.model_validate({"properties": {"model": {"name": CHAT.id}}})

    changed, _ = deployments.put(OURS, "chat", put)

    assert changed.record.enqueued_token_limit == 7


def test_a_patch_changes_price_tier_and_tags(system):
    deployments = system.deployments()
    deployments.create(OURS, chat())
    patch = ArmDeploymentPatch.model_validate({"sku": {"name": "Batch"}, "tags": {"a": "b"}})

    record = deployments.patch(OURS, "chat", patch).record

    assert (record.sku, record.capacity, record.arm) == ("Batch", 1, {"tags": {"a": "b"}})


TUNED = ModelRecord("org/chat-model.ft-1-mine", "chat", base=CHAT.id, checkpoint="ftchkpt-1")


@pytest.fixture
def tuning(system):
    """A system in which the resource `ours` has tuned a model."""
    system.tuned.of[OURS] = [TUNED]
    return system


@pytest.mark.parametrize("name", [TUNED.id, "ftchkpt-1", "gpt"])
def test_a_tuned_model_is_deployed_by_any_of_its_names(tuning, name):
    deployments = tuning.deployments(gpt=TUNED.id)

    made = deployments.create(OURS, DeploymentCreation(id="mine", model=name))

    assert made.record.model == TUNED.id
    assert deployments.look_up(OURS, "mine").model.id == TUNED.id
    assert [one.model.id for one in deployments.list(OURS) if one.record.id == "mine"] == [TUNED.id]


@pytest.mark.parametrize("name", [TUNED.id, "ftchkpt-1", "gpt"])
def test_anothers_tuned_model_does_not_exist(tuning, name):
    deployments = tuning.deployments(gpt=TUNED.id)
    put = ArmDeploymentRequest.model_validate({"properties": {"model": {"name": name}}})

    for deploy in (
        lambda: deployments.create(THEIRS, DeploymentCreation(id="mine", model=name)),
        lambda: deployments.put(THEIRS, "mine", put),
    ):
        with pytest.raises(InvalidPayload, match="does not exist"):
            deploy()
    with pytest.raises(DeploymentNotFound):
        deployments.look_up(THEIRS, name)
    with pytest.raises(NotFound):
        deployments.get(THEIRS, name)


def test_a_tuned_model_is_not_deployed_by_itself(tuning):
    deployments = tuning.deployments()

    with pytest.raises(DeploymentNotFound):
        deployments.look_up(OURS, TUNED.id)
    assert names(deployments, OURS) == {CHAT.id, OTHER.id}


def test_the_operator_deploys_a_tuned_model_for_all(tuning):
    deployments = tuning.deployments(DeploymentEntry(name="shared", model=TUNED.id))

    for resource in (OURS, THEIRS):
        assert deployments.look_up(resource, "shared").model.id == TUNED.id
        assert deployments.get(resource, "shared").model is not None
        assert all(one.model is not None for one in deployments.list(resource))


def test_who_deploys_a_model_is_known_whoever_it_is(tuning):
    deployments = tuning.deployments(DeploymentEntry(name="shared", model=TUNED.id))
    deployments.create(OURS, DeploymentCreation(id="mine", model=TUNED.id))
    deployments.create(OURS, DeploymentCreation(id="unlike", model=OTHER.id))

    with tuning.database.reading() as connection:
        found = deployments.of_model(connection, TUNED.id)

    assert [(one.resource, one.id) for one in found] == [(EVERYONE, "shared"), (OURS, "mine")]


def test_a_tuned_model_that_is_deleted_at_this_moment_is_not_deployed(tuning):
    deployments = tuning.deployments()
    deployments.create(OURS, chat("mine"))
    tuning.tuned.gone.add(TUNED.id)
    put = ArmDeploymentRequest.model_validate({"properties": {"model": {"name": TUNED.id}}})

    for deploy in (
        lambda: deployments.create(OURS, DeploymentCreation(id="new", model=TUNED.id)),
        lambda: deployments.update(OURS, "mine", DeploymentUpdate(model=TUNED.id)),
        lambda: deployments.put(OURS, "mine", put),
    ):
        with pytest.raises(InvalidPayload, match="does not exist"):
            deploy()

    assert names(deployments, OURS) == {CHAT.id, OTHER.id, "mine"}
    assert deployments.get(OURS, "mine").record.model == CHAT.id


def test_a_deployment_whose_tuned_model_went_away_answers_nothing(tuning):
    deployments = tuning.deployments()
    deployments.create(OURS, DeploymentCreation(id="mine", model=TUNED.id))

    tuning.tuned.of.clear()

    assert deployments.get(OURS, "mine").model is None
    with pytest.raises(DeploymentNotFound):
        deployments.look_up(OURS, "mine")


def test_a_deployment_whose_model_an_upstream_answers_cannot_be_deterministic(system):
    away = ModelRecord("away", "chat", upstream=Upstream(base_url="http://127.0.0.1:9/v1"))
    system.models.append(away)
    deployments = system.deployments()
    exact = deployments.create(OURS, chat(deterministic=True)).record
    deployments.create(OURS, DeploymentCreation(id="far", model=away.id))

    for change in (
        lambda: deployments.create(OURS, DeploymentCreation(model=away.id, deterministic=True)),
        lambda: deployments.update(OURS, "far", DeploymentUpdate(deterministic=True)),
        lambda: deployments.update(OURS, exact.id, DeploymentUpdate(model=away.id)),
        lambda: system.deployments(DeploymentEntry(name="x", model=away.id, deterministic=True)),
    ):
        with pytest.raises(InvalidPayload, match=r"'away' cannot be deterministic.*upstream"):
            change()

    assert deployments.look_up(OURS, exact.id).model is CHAT
    assert not deployments.look_up(OURS, "far").deployment.deterministic


def test_an_alias_means_another_name_unless_a_deployment_or_model_has_it(system):
    deployments = system.deployments(**{"gpt-4o": CHAT.id, OTHER.id: CHAT.id})
    deployments.create(THEIRS, chat("gpt-4o"))

    assert deployments.meant(OURS, "gpt-4o") == CHAT.id
    assert deployments.meant(THEIRS, "gpt-4o") == "gpt-4o"
    assert deployments.meant(OURS, OTHER.id) == OTHER.id
    assert deployments.meant(OURS, "nothing") == "nothing"


def test_models_are_looked_for_while_others_can_write(tmp_path):
    path = tmp_path / "linarite.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    system = System(database)

    def installed():
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")  # "database is locked" within a transaction
        return system.models

    deployments = Deployments(database, Models(installed, (), {}, system.tuned), system.clock)
    deployments.create(OURS, chat())

    changed = deployments.update(OURS, "chat", DeploymentUpdate(deterministic=True))
    listed = {deployed.record.id for deployed in deployments.list(OURS)}

    assert changed.record.deterministic
    assert listed == {"chat", CHAT.id, OTHER.id}
    database.close()
