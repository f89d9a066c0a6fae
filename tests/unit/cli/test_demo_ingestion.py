"""What the demo of ingestion asks of a server, and how it names its folder and its site to one."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from rich.console import Console
from tests.support.server import running_server

from linarite.cli import demo_ingestion
from linarite.settings import load

DATA = Path(demo_ingestion.__file__).parent / "demo_data"
SITE = "http://127.0.0.1:8077/"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.AzureOpenAI]:
    """Of a server that knows no folder."""
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield openai.AzureOpenAI(
            azure_endpoint=server.url, api_key=server.key, api_version="2025-02-01-preview"
        )


def test_what_the_demo_asks_is_in_its_documents():
    shipped = json.loads((DATA / "ingest_questions.json").read_text())
    answered = {
        demo_ingestion.DOCUMENTS: [one["question"] for one in shipped["documents"]],
        demo_ingestion.SITE: [one["question"] for one in shipped["site"]],
    }
    *asked, last = demo_ingestion.QUESTIONS

    assert all(question in answered[job] for job, question in asked)
    assert last[1] in shipped["unanswered"]


def test_environment_and_file_open_the_same_beside_what_is_open(monkeypatch, tmp_path):
    """And leave the operator's own folders there."""
    file = tmp_path / "linarite.toml"
    file.write_text('[datasets.own]\ntype = "uri_folder"\npath = "own"\n')
    for name, value in demo_ingestion.environment(SITE, ["wiki.corp:443"]).items():
        monkeypatch.setenv(name, value)

    settings = load(file)

    assert settings.outbound.allow == ("wiki.corp:443", "127.0.0.1:8077")
    assert {*settings.datasets} == {"own", demo_ingestion.DATASET}
    written = tomllib.loads(demo_ingestion.toml(SITE))
    assert written["outbound"]["allow"] == ["127.0.0.1:8077"]
    folder = settings.datasets[demo_ingestion.DATASET]
    assert written["datasets"] == {
        demo_ingestion.DATASET: {"type": folder.type, "path": str(folder.path)}
    }
    assert folder.path == DATA / "ingest"


@pytest.mark.xdist_group("the port of the demo's site")
def test_the_site_is_served_while_it_is_wanted():
    with demo_ingestion.web_site(Console(quiet=True)) as address:
        page = httpx.get(f"{address}mine.html").text
        with demo_ingestion.web_site(Console(quiet=True)) as second:  # its usual port is taken
            assert second != address

    assert "Deep Hope" in page
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_a_server_that_does_not_know_the_folder_is_left_alone(client: openai.AzureOpenAI):
    said = demo_ingestion.ingest_and_ask(client, "any", SITE, Console(quiet=True))

    assert isinstance(said, demo_ingestion.Unready)
    assert said.reason.startswith("There is no 'museum_of_the_demo' here")
    assert client.get("/ingestion/jobs", cast_to=dict)["value"] == []
