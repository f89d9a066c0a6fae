import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.server import Server, running_server

from linarite.http.tls import SelfSigned, self_signed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    return self_signed(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])


def options_of(certificate: SelfSigned) -> dict[str, str]:
    return {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}


@pytest.fixture(scope="module")
def server(certificate: SelfSigned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("over-tls")
    tls = {"tls": "self-signed"}
    with running_server(folder / "data", options=options_of(certificate), server=tls) as one:
        yield one


@pytest.fixture
def trusting(certificate: SelfSigned) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.authority))


def test_who_trusts_the_authority_is_served(server: Server, trusting: ssl.SSLContext):
    answer = httpx.get(f"{server.url}/readyz", verify=trusting)

    assert answer.status_code == 200
    assert "max-age" in answer.headers["strict-transport-security"]


def test_the_official_client_works_over_tls(server: Server, trusting: ssl.SSLContext):
    with server.sdk(http_client=httpx.Client(verify=trusting)) as client:
        file = client.files.create(file=("a.txt", b"text"), purpose="assistants")

        assert client.files.content(file.id).read() == b"text"


def test_links_stay_on_tls(server: Server, trusting: ssl.SSLContext):
    with server.client(verify=trusting) as client:
        answer = client.post(
            "/openai/files", files={"file": b"text"}, data={"purpose": "assistants"}
        )

    assert answer.headers["location"].startswith(f"{server.url}/openai/files/file-")


def test_who_does_not_trust_it_is_not_connected(server: Server):
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/readyz")


def test_plain_http_is_not_answered(server: Server):
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http") + "/readyz")


def test_a_server_stops_though_a_client_keeps_its_connection(
    certificate: SelfSigned, trusting: ssl.SSLContext, tmp_path: Path
):
    options, tls = options_of(certificate), {"tls": "self-signed"}

    with httpx.Client(verify=trusting) as client:
        with running_server(tmp_path, options=options, server=tls) as server:
            client.get(f"{server.url}/healthz")
            began = time.monotonic()
        took = time.monotonic() - began

    assert took < 3
