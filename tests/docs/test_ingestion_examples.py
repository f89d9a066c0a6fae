"""The jobs and the names that the guides to ingestion show are taken as they are printed."""

import re
import tomllib
from pathlib import Path

import pydantic
import pytest

from linarite.resources.ingestion.definition import resolve
from linarite.settings import Settings
from linarite.wire.ingestion import IngestionJob

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ingestion.md"
SECRETS = {
    "SEARCH_KEY": "key",
    "LAKE": "AccountName=lake;AccountKey=a2V5",
    "COSMOS": "mongodb+srv://user:word@corp.mongocluster.cosmos.azure.com",
    "PINECONE_KEY": "key",
    "EMBEDDER_KEY": "key",
}


def shown(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def jobs() -> list[str]:
    put = re.search(r"<<'EOF'\n(.*?)^EOF", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert put
    return [put[1], *shown(PAGE, "json")]


@pytest.mark.parametrize("job", jobs(), ids=["folder", "blobs", "pages"])
def test_a_job_that_is_shown_is_taken(job: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = Settings(**tomllib.loads("\n".join(shown(PAGE, "toml"))))
    wanted = pydantic.TypeAdapter(IngestionJob).validate_json(job)

    resolved = resolve(settings, wanted.model_copy(update={"job_id": "handbook"}))

    assert resolved.embedding is not None
