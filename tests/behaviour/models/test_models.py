"""Models as clients find them, whatever characters their ids have and whatever else they go by."""

from collections.abc import Iterator

import openai
import pytest
from tests.support.server import Server, running_server
from tests.support.tuned import add_tuned

from linarite.wire.models import FineTuningState

UPSTREAM = {"base_url": "http://127.0.0.1:9/v1"}
IDS = ["llama-3.2-1b", "meta/llama-3.2:1b", "tiny.ft-0123:step-10", "vectors"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = [{"id": one, "upstream": UPSTREAM} for one in IDS[:-1]]
    models.append({"id": "vectors", "kind": "embedding", "upstream": UPSTREAM})
    aliases = {"gpt-4o-2024-08-06": IDS[0], "of-nothing": "not-there"}
    folder = tmp_path_factory.mktemp("models") / "data"
    with running_server(folder, models=models, aliases=aliases) as running:
        yield running


@pytest.fixture(params=["azure", "plain"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[openai.OpenAI]:
    with server.sdk() if request.param == "azure" else server.v1() as one:
        yield one


@pytest.mark.parametrize("model_id", IDS)
def test_a_model_is_found_by_any_id(client: openai.OpenAI, model_id: str):
    model = client.models.retrieve(model_id)

    assert (model.id, model.object, model.owned_by) == (model_id, "model", "upstream")
    assert model.created == model.model_dump()["created_at"]


def test_every_model_is_listed_and_then_every_alias_of_one(client: openai.OpenAI):
    listed = [model.id for model in client.models.list()]

    assert listed == [*IDS, "gpt-4o-2024-08-06"]


def test_an_alias_tells_the_model_that_it_means(client: openai.OpenAI):
    model = client.models.retrieve("gpt-4o-2024-08-06").model_dump()

    assert (model["id"], model["model"]) == ("gpt-4o-2024-08-06", IDS[0])


@pytest.mark.parametrize("model_id", ["not-there", "of-nothing", "meta", "meta/llama-3.2:1b/"])
def test_what_is_no_model_is_not_found(client: openai.OpenAI, model_id: str):
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve(model_id)

    assert refused.value.code == "notFound"


@pytest.mark.parametrize(
    ("model_id", "able"),
    [("vectors", {"embeddings"}), (IDS[0], {"chat_completion", "completion"})],
)
def test_a_model_tells_what_it_can_be_used_for(
    client: openai.OpenAI, model_id: str, able: set[str]
):
    capabilities = client.models.retrieve(model_id).model_dump()["capabilities"]

    assert {name for name, is_so in capabilities.items() if is_so} == able | {"inference"}


HEX = "0123456789abcdef" * 2
TUNED = f"{IDS[0]}.ft-{HEX}-pirate"
STEP = f"{IDS[0]}.ft-{HEX[::-1]}:ckpt-step-10"


@pytest.fixture
def tuning(tmp_path) -> Iterator[Server]:
    """A server whose default resource has tuned a model, and kept a checkpoint of another."""
    aliases = {"gpt-4o-2024-08-06": TUNED}
    models = [{"id": IDS[0], "upstream": UPSTREAM}]
    with running_server(tmp_path / "data", models=models, aliases=aliases) as running:
        add_tuned(running, f"ftjob-{HEX}", IDS[0], {20: None}, suffix="pirate")
        cancelled = FineTuningState.CANCELLED
        add_tuned(running, f"ftjob-{HEX[::-1]}", IDS[0], {10: None}, status=cancelled)
        yield running


def test_a_tuned_model_tells_its_base_and_its_job(tuning: Server):
    with tuning.client() as client:
        model = client.get(f"/openai/models/{TUNED}").json()

    assert model == {
        "object": "model",
        "id": TUNED,
        "created_at": 1_700_000_000,
        "status": "succeeded",
        "model": IDS[0],
        "fine_tune": f"ftjob-{HEX}",
        "capabilities": {
            "fine_tune": False,
            "inference": True,
            "completion": True,
            "chat_completion": True,
            "embeddings": False,
        },
        "lifecycle_status": "generally-available",
        "deprecation": {"fine_tune": None, "inference": 4_102_444_800},
        "created": 1_700_000_000,
        "owned_by": "linarite",
    }


def test_a_checkpoint_is_a_model_by_its_name_and_its_id(tuning: Server):
    with tuning.sdk() as client:
        [checkpoint] = client.fine_tuning.jobs.checkpoints.list(f"ftjob-{HEX[::-1]}")
        models = [client.models.retrieve(name).model_dump() for name in (STEP, checkpoint.id)]

    for model in models:
        told = (model["id"], model["model"], model["fine_tune"], model["status"])
        assert told == (STEP, IDS[0], f"ftjob-{HEX[::-1]}", "cancelled")


def test_a_result_goes_on_by_the_name_that_it_had_as_a_checkpoint(tuning: Server):
    with tuning.sdk() as client:
        assert client.models.retrieve(f"{TUNED}:ckpt-step-20").id == TUNED


def test_tuned_models_are_listed_for_their_resource_alone(tuning: Server):
    stranger = tuning.add_key("stranger")

    with tuning.sdk() as ours, tuning.sdk(key=stranger) as theirs:
        listed = [[model.id for model in client.models.list()] for client in (ours, theirs)]
        with pytest.raises(openai.NotFoundError):
            theirs.models.retrieve(TUNED)

    assert listed == [[IDS[0], TUNED, STEP, "gpt-4o-2024-08-06"], [IDS[0]]]


def test_an_alias_may_stand_for_a_tuned_model(tuning: Server):
    with tuning.sdk() as client:
        model = client.models.retrieve("gpt-4o-2024-08-06").model_dump()

    assert (model["model"], model["fine_tune"]) == (TUNED, f"ftjob-{HEX}")
