"""Models as clients find them, whatever characters their ids have and whatever else they go by."""

from collections.abc import Iterator

import openai
import pytest
from tests.support.server import Server, running_server

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
