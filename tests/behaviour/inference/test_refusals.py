"""What callers are told when there is no answer, in OpenAI's form."""

import httpx
import openai
import pytest
from tests.behaviour.inference.conftest import UPSTREAM_KEY

URL = "/openai/deployments/chat/chat/completions"


@pytest.fixture
def client(server):
    with server.client() as one:
        yield one


def chat(text="Hello", **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def error(answer):
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return told


@pytest.mark.parametrize("base", ["/openai", "/openai/v1"])
def test_an_unknown_deployment_is_told_in_the_services_words(client, base):
    answer = client.post(f"{base}/deployments/nothing/chat/completions", json=chat())

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "DeploymentNotFound"


def test_so_is_an_unknown_model_of_plain_clients(server):
    with server.v1() as client, pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="nothing", **chat())

    assert refused.value.code == "DeploymentNotFound"


@pytest.mark.parametrize("model", [None, "", 5, ["chat"]])
def test_plain_clients_must_name_a_model(client, model):
    answer = client.post("/openai/v1/chat/completions", json=chat(model=model))

    assert (answer.status_code, error(answer)["param"]) == (400, "model")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"a"', b'{"messages": "\\ud800"}'])
def test_what_is_no_json_object_is_refused(client, body):
    answer = client.post(URL, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert error(answer)["type"] == "invalid_request_error"


def test_another_content_type_is_refused(client):
    answer = client.post(URL, content=b"{}", headers={"content-type": "text/plain"})

    assert answer.status_code == 415
    error(answer)


def test_a_parameter_out_of_range_is_named(server):
    with server.sdk() as client, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", **chat(temperature=5))

    assert (refused.value.param, refused.value.type) == ("temperature", "invalid_request_error")


def test_a_refused_request_does_not_reach_the_engine(client, engine):
    client.post(URL, json=chat(top_p=2))

    assert engine.asked()["total"] == 0


def test_too_many_requests_pass_with_the_time_to_wait(client):
    answer = client.post(URL, json=chat("[[fail 429]] [[retry-after 7]]"))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert error(answer)["message"] == "The script says 429."


def test_the_official_client_tries_again_by_itself(server, engine):
    with server.sdk(max_retries=2) as client:
        answer = client.chat.completions.create(model="chat", **chat("[[fail 429 x1]] [[say hi]]"))

    assert answer.choices[0].message.content == "hi"
    assert engine.asked()["total"] == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("said", "told"), [(400, 400), (401, 503), (404, 503), (422, 400), (500, 500), (503, 503)]
)
def test_an_engines_failure_is_told_as_a_whole(client, said, told, stream):
    answer = client.post(URL, json=chat(f"[[fail {said}]]", stream=stream))

    assert answer.status_code == told
    error(answer)


def test_an_answer_that_is_no_json_is_a_failure(client):
    answer = client.post(URL, json=chat("[[garbage]]"))

    assert (answer.status_code, error(answer)["type"]) == (502, "server_error")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_engine_that_hangs_up_is_unavailable(client, stream):
    answer = client.post(URL, json=chat("[[drop]]", stream=stream))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    error(answer)


def test_an_engine_that_is_away_is_unavailable_and_its_address_not_told(client):
    answer = client.post("/openai/deployments/away/chat/completions", json=chat())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "127.0.0.1" not in error(answer)["message"]


def test_a_missing_key_of_an_upstream_is_the_operators_matter(client):
    answer = client.post("/openai/deployments/keyless/chat/completions", json=chat())

    assert answer.status_code == 503
    assert UPSTREAM_KEY not in answer.text


def test_an_operation_that_is_not_the_models_is_refused(client):
    answer = client.post("/openai/deployments/embed/chat/completions", json=chat())

    assert (answer.status_code, error(answer)["code"]) == (400, "OperationNotSupported")


def test_inference_wants_a_key(server):
    answer = httpx.post(server.url + URL, params={"api-version": "2025-02-01-preview"}, json=chat())

    assert answer.status_code == 401


def test_a_body_beyond_the_bound_is_refused(tmp_path, engine):
    from tests.support.server import running_server

    models = [{"id": "m", "upstream": {"base_url": engine.base_url}}]
    limits = {"json_body_bytes": 1000}
    with running_server(tmp_path, models=models, limits=limits) as one, one.client() as client:
        answer = client.post("/openai/deployments/m/chat/completions", json=chat("x" * 1000))

    assert answer.status_code == 413
    error(answer)
