import uuid

import pytest
from starlette.testclient import TestClient
from tests.support.small_app import client_of, small_app


def client(**edge) -> TestClient:
    app = small_app()
    for path in ("/", "/healthz"):
        app.add_api_route(path, lambda: "here", methods=["GET", "POST"])
    return client_of(app, **edge)


def test_every_answer_carries_its_marks():
    headers = client().get("/").headers

    assert uuid.UUID(headers["x-request-id"])
    assert headers["apim-request-id"] == headers["x-request-id"]
    assert headers["x-ms-region"] == "here"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache, must-revalidate"
    assert "strict-transport-security" not in headers


def test_two_requests_have_two_ids():
    one = client()

    assert one.get("/").headers["x-request-id"] != one.get("/").headers["x-request-id"]


def test_the_clients_own_id_comes_back():
    sent = {"x-ms-client-request-id": "my-own-1"}

    assert client().get("/", headers=sent).headers["x-ms-client-request-id"] == "my-own-1"


@pytest.mark.parametrize("odd", ["", "a b", "a" * 129])
def test_an_odd_id_of_the_client_does_not_come_back(odd: str):
    answer = client().get("/", headers={"x-ms-client-request-id": odd})

    assert "x-ms-client-request-id" not in answer.headers


def test_over_tls_browsers_are_told_to_stay():
    assert "max-age" in client(tls=True).get("/").headers["strict-transport-security"]


@pytest.mark.parametrize("host", ["ai.corp", "AI.CORP", "ai.corp:8080", "127.0.0.1:1", "[::1]:80"])
def test_a_named_host_is_served(host: str):
    one = client(hosts=["Ai.Corp", "127.0.0.1", "[::1]"])

    assert one.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "ai.corp.evil.example", "", "ai.corp:x", ":80"])
def test_an_unknown_host_is_refused(host: str):
    answer = client(hosts=["ai.corp"]).get("/", headers={"host": host})

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"


def test_probes_are_answered_under_any_host():
    one = client(hosts=["ai.corp"])

    assert one.get("/healthz", headers={"host": "10.1.2.3:8080"}).status_code == 200


def test_a_host_may_be_bound_to_its_port():
    one = client(hosts=["ai.corp:443"])

    assert one.get("/", headers={"host": "ai.corp:443"}).status_code == 200
    assert one.get("/", headers={"host": "ai.corp:80"}).status_code == 403


def test_a_client_may_send_some_headers_of_its_own():
    ten = {f"x-own-{number}": "1" for number in range(10)}
    of_the_sdk = {f"x-stainless-{number}": "1" for number in range(10)}

    assert client(custom_headers=10).get("/", headers=ten | of_the_sdk).status_code == 200


def test_a_client_may_not_send_more_of_them():
    eleven = {f"x-own-{number}": "1" for number in range(11)}

    answer = client(custom_headers=10).get("/", headers=eleven)

    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "invalidPayload"
    assert client().get("/", headers=eleven).status_code == 200


@pytest.mark.parametrize("address", ["/%00", "/?after=a%00b"])
def test_a_nul_in_the_address_is_refused(address: str):
    assert client().get(address).status_code == 400


def test_a_body_that_was_announced_and_not_read_ends_the_connection():
    answer = client().post("/missing", headers={"expect": "100-continue"}, content=b"x")

    assert answer.status_code == 404
    assert answer.headers["connection"] == "close"
    assert "connection" not in client().post("/missing", content=b"x").headers
