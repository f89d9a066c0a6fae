"""Entries that name connections, datasets and computes: what they may say, and their secrets."""

import pytest
from pydantic import ValidationError

from linarite.sections import SecretMissing
from linarite.settings import Settings, load

BLOB = {"kind": "azure_blob", "endpoint": "https://a.test"}


def settings(**entries):
    return Settings(**{section: {"a": entry} for section, entry in entries.items()})


WRONG = {
    "no kind": {"endpoint": "https://a.test"},
    "unknown kind": {"kind": "s3"},
    "blob of no address": {"kind": "azure_blob"},
    "blob of two addresses": BLOB | {"connection_string": "AccountName=a"},
    "two keys": BLOB | {"key": "a", "key_env": "A"},
    "key beside a string": {"kind": "azure_blob", "connection_string": "a", "key": "b"},
    "address without scheme": {"kind": "azure_search", "endpoint": "a.test"},
    "address with user": {"kind": "azure_search", "endpoint": "https://u@a.test"},
    "cosmos of no string": {"kind": "cosmos_mongo_vcore"},
    "pinecone of no key": {"kind": "pinecone", "host": "https://a.test"},
    "pinecone of no index": {"kind": "pinecone", "key": "k"},
    "pinecone of two indexes": {
        "kind": "pinecone",
        "key": "k",
        "host": "https://a.test",
        "index": "docs",
    },
    "pinecone made without a name": {
        "kind": "pinecone",
        "key": "k",
        "host": "https://a.test",
        "create": {"cloud": "aws", "region": "us-east-1"},
    },
    "misspelt": {"kind": "folder", "path": "a", "pth": "a"},
}


@pytest.mark.parametrize("entry", WRONG.values(), ids=WRONG)
def test_a_connection_that_is_none_is_refused(entry):
    with pytest.raises(ValidationError):
        settings(connections=entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "a"},
        {"type": "folder", "path": "a"},
        {"type": "uri_folder"},
        {"type": "uri_folder", "path": "a", "connection": "b", "container": "c"},
        {"type": "uri_folder", "connection": "b"},
        {"type": "uri_folder", "path": "a", "prefix": "b"},
        {"type": "uri_file", "connection": "b", "container": "c"},
    ],
)
def test_a_dataset_that_is_none_is_refused(entry):
    with pytest.raises(ValidationError):
        settings(datasets=entry)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a"])
def test_a_name_that_no_id_could_end_in_is_refused(name):
    with pytest.raises(ValidationError):
        Settings(computes={name: {"parallel": 1}})


def test_a_secret_stands_in_the_entry_or_in_the_environment(monkeypatch):
    monkeypatch.setenv("A_KEY", "from outside")
    given = settings(connections=BLOB | {"key": "in it"}).connections["a"]
    named = settings(connections=BLOB | {"key_env": "A_KEY"}).connections["a"]
    keyless = settings(connections=BLOB).connections["a"]

    assert (given.secret, named.secret, keyless.secret) == ("in it", "from outside", None)
    assert "in it" not in repr(given)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(SecretMissing, match="A_KEY"):
        _ = named.secret


def test_a_file_names_them_in_tables(tmp_path):
    file = tmp_path / "linarite.toml"
    file.write_text(
        '[connections.blobs]\nkind = "azure_blob"\nconnection_string_env = "B"\n'
        '[datasets.handbook]\ntype = "uri_folder"\npath = "docs"\n'
        "[computes.big]\nparallel = 8\n"
    )

    loaded = load(file)

    assert loaded.connections["blobs"].connection_string_env == "B"
    assert loaded.datasets["handbook"].type == "uri_folder"
    assert loaded.computes["big"].parallel == 8
