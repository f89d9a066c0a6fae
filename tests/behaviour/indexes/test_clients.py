"""The embedded index through Azure's official client, as its users make it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.search.documents.indexes import SearchIndexClient
from tests.support.search_job import INDEX, SEEN, main_job
from tests.support.server import Server, running_server

from linarite.http.tls import SelfSigned, self_signed

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    return self_signed(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])


@pytest.fixture(scope="module")
def over_tls(certificate: SelfSigned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}
    folder = tmp_path_factory.mktemp("over-tls")
    with running_server(folder, options=options, server={"tls": "self-signed"}) as running:
        yield running


@pytest.fixture(scope="module")
def over_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("over-http")) as running:
        yield running


def test_the_newest_client_does_its_job_over_http(over_http: Server):
    assert main_job(over_http.url, over_http.key) == SEEN


def test_the_newest_client_does_its_job_over_tls(over_tls: Server, certificate: SelfSigned):
    seen = main_job(over_tls.url, over_tls.key, connection_verify=str(certificate.authority))

    assert seen == SEEN


def test_the_client_11_6_does_its_job_over_tls(over_tls: Server, certificate: SelfSigned):
    folder = ROOT / ".venv" / "search_11_6"
    assert folder.is_dir(), f"{folder.name} is not here: make setup"
    module = "tests.end_to_end.search_11_6.main_job"
    done = subprocess.run(
        [sys.executable, "-m", module, over_tls.url, over_tls.key, str(certificate.authority)],
        cwd=ROOT,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {"version": "11.6.0", "seen": SEEN}


def test_a_key_opens_the_indexes_of_its_resource_alone(over_http: Server):
    mine = SearchIndexClient(over_http.url, AzureKeyCredential(over_http.key))
    other = SearchIndexClient(over_http.url, AzureKeyCredential(over_http.add_key("other")))
    nobody = SearchIndexClient(over_http.url, AzureKeyCredential("no key of this server"))
    with mine, other, nobody:
        mine.create_index(INDEX)

        assert list(other.list_index_names()) == []
        with pytest.raises(ResourceNotFoundError):
            other.get_index("hotels")
        with pytest.raises(ClientAuthenticationError):
            nobody.get_index("hotels")
        mine.delete_index("hotels")
