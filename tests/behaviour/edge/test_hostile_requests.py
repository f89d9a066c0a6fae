"""Requests that no schema thinks of, each against every operation it fits.

Each is refused with the right status and leaves no row and no byte behind, or is taken for what
it says; none is a failure of the server.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.campaign import Campaign
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import running_server

START = {"purpose": "batch", "filename": "a.jsonl", "bytes": 10, "mime_type": "text/plain"}
IMPORT = {"purpose": "batch", "filename": "a.jsonl", "content_url": "https://example.com/a.jsonl"}
NO_ID = "0" * 32


ACCOUNT = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments"
)
BATCH = {"input_file_id": NO_ID, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
DEPLOYMENT = {
    "id": "mine",
    "model": "scripted",
    "scale_settings": {"scale_type": "manual", "capacity": 1},
    "enqueued_token_limit": 1000,
    "requests_per_minute": 1000,
    "tokens_per_minute": 1_000_000,
    "deterministic": False,
}
ARM = {
    "sku": {"name": "standard", "capacity": 1},
    "properties": {"model": {"format": "OpenAI", "name": "scripted", "version": "1"}},
}
INGESTION = {
    "kind": "SystemCompute",
    "jobId": "a-job",
    "datasource": {
        "kind": "Storage",
        "connection": {"kind": "RelativeConnection"},
        "containerName": "docs",
        "embeddings": [],
    },
}
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


@dataclass(frozen=True)
class Sent:
    """An operation with a JSON body, one body that it takes, and what else it may be given."""

    method: str
    path: str
    body: dict[str, Any]
    more: tuple[str, ...] = ()
    is_inference: bool = False


JSON_OPERATIONS = {
    "UploadFile_Start": Sent("POST", "/openai/uploads", START, ("expires_after",)),
    "UploadFile_Complete": Sent(
        "POST", "/openai/uploads/{upload}/complete", {"part_ids": ["a"], "md5": "0" * 32}
    ),
    "Files_Import": Sent("POST", "/openai/files/import", IMPORT),
    "Batch_Create": Sent("POST", "/openai/batches", BATCH, ("metadata",)),
    "IngestionJobs_Create": Sent(
        "PUT",
        "/openai/ingestion/jobs/a-job",
        INGESTION,
        (
            *("searchServiceConnection", "completionAction", "dataRefreshIntervalInHours"),
            *("workspaceId", "target", "compute"),
        ),
    ),
    "Deployments_Create": Sent("POST", "/openai/deployments", DEPLOYMENT),
    "Deployments_Update": Sent("PATCH", "/openai/deployments/own", DEPLOYMENT),
    "ArmDeployments_Create": Sent("PUT", f"{ACCOUNT}/own", ARM, ("tags",)),
    "ArmDeployments_Update": Sent("PATCH", f"{ACCOUNT}/own", ARM),
    "ChatCompletions_Create": Sent(
        "POST",
        "/openai/deployments/chat/chat/completions",
        CHAT,
        (
            *("temperature", "top_p", "n", "stop", "seed", "stream", "stream_options", "user"),
            *("logit_bias", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice"),
            *("presence_penalty", "frequency_penalty", "max_completion_tokens", "store"),
        ),
        is_inference=True,
    ),
    "ChatCompletions_Create_v1": Sent(
        "POST", "/openai/v1/chat/completions", CHAT, is_inference=True
    ),
    "Completions_Create": Sent(
        "POST",
        "/openai/deployments/chat/completions",
        {"model": "chat", "prompt": "Hello", "max_tokens": 3},
        ("best_of", "echo", "suffix", "logprobs", "n", "stop", "stream"),
        is_inference=True,
    ),
    "Embeddings_Create": Sent(
        "POST",
        "/openai/deployments/embed/embeddings",
        {"model": "embed", "input": "Hello", "encoding_format": "float", "dimensions": 8},
        is_inference=True,
    ),
}
LISTS = ["/openai/files", "/openai/batches", "/openai/ingestion/jobs"]
ITEMS = [
    ("GET", "/openai/files/{}"),
    ("DELETE", "/openai/files/{}"),
    ("GET", "/openai/files/{}/content"),
    ("POST", "/openai/uploads/{}/cancel"),
    ("GET", "/openai/batches/{}"),
    ("POST", "/openai/batches/{}/cancel"),
    ("GET", "/openai/models/{}"),
    ("GET", "/openai/ingestion/jobs/{}"),
    ("DELETE", "/openai/ingestion/jobs/{}"),
    ("GET", "/openai/ingestion/jobs/{}/runs"),
    ("GET", "/openai/ingestion/jobs/own/runs/{}"),
    ("POST", "/openai/ingestion/jobs/{}/retry-failed"),
    ("GET", "/openai/deployments/{}"),
    ("DELETE", "/openai/deployments/{}"),
    ("GET", ACCOUNT + "/{}"),
]

MALFORMED = {
    "nothing": b"",
    "half an object": b'{"purpose": "batch"',
    "two objects": b"{}{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"purpose": "batch"}'.encode("utf-16"),
    "no UTF-8": b'{"purpose": "\xff\xfe"}',
    "overlong UTF-8": b'{"purpose": "\xc0\x80"}',
    "lone surrogate": b'{"purpose": "\\ud800"}',
    "surrogate as UTF-8": b'{"purpose": "\xed\xa0\x80"}',
    "NUL escaped": b'{"purpose": "a\\u0000"}',
    "NUL raw": b'{"purpose": "a\x00"}',
    "NUL in a key": b'{"a\\u0000": 1}',
    "NaN": b'{"bytes": NaN}',
    "infinity": b'{"bytes": 1e999}',
    "nested arrays": b"[" * 100_000,
    "nested objects": b'{"a":' * 1_500 + b"{}" + b"}" * 1_500,
    "single quotes": b"{'purpose': 'batch'}",
    "trailing comma": b'{"purpose": "batch",}',
    "comment": b"{} // nothing",
    "null": b"null",
    "array": b"[{}]",
    "string": b'"{}"',
    "number": b"1",
    "form": b"purpose=batch&filename=a",
}
VALUES = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "2^31": 2**31,
    "2^63": 2**63,
    "2^64": 2**64,
    "10^300": 10**300,
    "fraction": 1.5,
    "empty": "",
    "blank": " ",
    "dots": "../../etc/passwd",
    "control": "a\r\nb: c\x1b[31m\x7f",
    "right to left": "\u202ea.jsonl",
    "not a character": "\uffff\U0010ffff",
    "emoji": "💎" * 100,
    "long": "x" * 100_000,
    "template": "{{7*7}}${7*7}%s%n",
    "statement": "'; DROP TABLE files; --",
    "array": [],
    "array of it": ["batch"],
    "many": ["x"] * 5_000,
    "object": {},
    "deep": {"a": {"b": {"c": [[[{}]]]}}},
    "too deep": json.loads("[" * 300 + "]" * 300),
}
ODD_SCHEMAS = [
    {"required": [{}]},
    {"type": [{}]},
    {"type": {}},
    {"properties": {"a": {"enum": [{}], "type": ["object", []]}}},
    {"properties": {"a": {"format": {}}}},
    {"items": VALUES["too deep"]},
]
IDS = {
    "unknown": NO_ID,
    "blank": "%20",
    "dot": "%2E",
    "dots": "%2E%2E",
    "slash": "a%2Fb",
    "backslash": "..%5C..%5Cetc",
    "no UTF-8": "%ff%fe",
    "overlong": "%c0%af",
    "surrogate": "%ed%a0%80",
    "line feed": "file-1%0d%0aX: y",
    "per cent": "%25",
    "question": "file%3Fa=b",
    "long": "f" * 20_000,
    "emoji": "%F0%9F%92%8E",
    "statement": "'%20OR%20'1'='1",
    "pattern": "file-%25_",
    "template": "%7Bfile_id%7D",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def campaign(
    shared_database_url: str | None,
    tmp_path_factory: pytest.TempPathFactory,
    engine: RunningEngine,
) -> Iterator[Campaign]:
    upstream = {"base_url": engine.base_url}
    with running_server(
        tmp_path_factory.mktemp("hostile") / "data",
        database_url=shared_database_url,
        models=[
            {"id": "scripted", "upstream": upstream},
            {"id": "embedder", "upstream": upstream, "kind": "embedding"},
        ],
        deployments=[
            {"name": "chat", "model": "scripted"},
            {"name": "embed", "model": "embedder"},
        ],
    ) as server:
        one = Campaign(server)
        one.send("PUT", f"{ACCOUNT}/own", json=ARM)
        yield one
        one.close()


@pytest.fixture(scope="module")
def upload(campaign: Campaign) -> str:
    """An open upload."""
    return str(campaign.send("POST", "/openai/uploads", json=START).json()["id"])


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_a_malformed_body_is_refused(campaign: Campaign, upload: str, name: str):
    sent = JSON_OPERATIONS[name]
    path = sent.path.format(upload=upload)

    for what, content in MALFORMED.items():
        headers = {"content-type": "application/json"}
        answer = campaign.send(sent.method, path, content=content, headers=headers)
        assert answer.status_code == 400, what
        error = answer.json()["error"]
        assert error["type" if sent.is_inference else "code"] in {
            "invalid_request_error",
            "invalidPayload",
        }


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_an_odd_value_is_refused_or_taken_for_what_it_is(
    campaign: Campaign, upload: str, name: str
):
    sent = JSON_OPERATIONS[name]

    for field in [*sent.body, *sent.more]:
        for value in VALUES.values():
            content = json.dumps({**copy.deepcopy(sent.body), field: value})
            headers = {"content-type": "application/json"}
            path = sent.path.format(upload=upload)
            campaign.send(sent.method, path, content=content, headers=headers)


@pytest.mark.parametrize("strict", [True, False])
def test_an_odd_schema_is_refused_or_taken_for_what_it_is(campaign: Campaign, strict: bool):
    for odd in ODD_SCHEMAS:
        schema = {"type": "object", "properties": {}, "additionalProperties": False, **odd}
        function = {"name": "f", "parameters": schema, "strict": strict}
        form = {"name": "f", "schema": schema, "strict": strict}
        for asked in (
            {"tools": [{"type": "function", "function": function}]},
            {"functions": [function]},
            {"response_format": {"type": "json_schema", "json_schema": form}},
        ):
            campaign.send("POST", "/openai/v1/chat/completions", json=CHAT | asked)


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_an_empty_object_is_missing_what_is_required(campaign: Campaign, upload: str, name: str):
    sent = JSON_OPERATIONS[name]
    if sent.method == "PATCH":  # which requires nothing
        return

    answer = campaign.send(sent.method, sent.path.format(upload=upload), json={})

    assert answer.status_code == 400
    error = answer.json()["error"]
    if not sent.is_inference:
        assert " is required." in error["message"]
        assert all(each["target"].startswith("$.") for each in error["details"])


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_an_undeclared_content_type_is_not_taken(campaign: Campaign, upload: str, name: str):
    sent = JSON_OPERATIONS[name]
    path = sent.path.format(upload=upload)

    for content_type in ("", "text/plain", "multipart/form-data", "application/xml", "*/*", "json"):
        answer = campaign.send(
            sent.method, path, content=json.dumps(sent.body), headers={"content-type": content_type}
        )
        assert answer.status_code == 415, content_type


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_a_body_beyond_the_limit_is_refused(campaign: Campaign, upload: str, name: str):
    sent = JSON_OPERATIONS[name]
    path = sent.path.format(upload=upload)
    headers = {"content-type": "application/json"}
    megabyte = b'"' + b"x" * ((1 << 20) - 2) + b'"'

    times = 65 if sent.is_inference else 5

    announced = campaign.send(sent.method, path, content=megabyte * times, headers=headers)
    in_chunks = campaign.send(sent.method, path, content=iter([megabyte] * times), headers=headers)

    assert (announced.status_code, in_chunks.status_code) == (413, 413)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_bounds_its_parameters(campaign: Campaign, path: str):
    for limit in ("0", "-1", "abc", "1.5", "99999999999999999999", "10001", "\0", "٣"):
        assert campaign.send("GET", path, params={"limit": limit}).status_code == 400, limit
    for after in ("nothing", NO_ID, "'; --", "💎", "x" * 10_000):
        answer = campaign.send("GET", path, params={"after": after})
        assert answer.status_code == 400, after
        assert answer.json()["error"]["target"] == "after"
    assert campaign.send("GET", path, params={"order": "sideways"}).status_code == 400


FILTERS = [
    *("created_at gt", "gt 1", "(", "((((created_at gt 1", "created_at gt 1)", "'", "created_at"),
    *("created_at gt 'x'", "created_at gt 1.5e999", "created_at gt null null", "1 eq 1", "true"),
    *("secret eq 'x'", "resource eq 'other'", "status eq 'nonsense' and", "status eq \x01"),
    *("created_at gt " + "9" * 400, "created_at gt -" + "9" * 30, "id eq '" + "x" * 50_000 + "'"),
    *("not " * 2_000 + "status eq 'failed'", "(" * 3_000 + "created_at gt 1" + ")" * 3_000),
    *(" or ".join(["created_at gt 1"] * 1_500), "id in (" + ",".join(["'a'"] * 4_000) + ")"),
    *("id eq 'a\0'", "id eq '💎'", "contains(id,'a')", "length(id) gt 1", "now() gt 1", "a/x eq 1"),
    *("created_at gt 2020-01-01T00:00:00Z", "id eq ''''", "id eq 'a'' or 1=1 --'", "x" * 50_000),
]


@pytest.mark.parametrize("option", ["$filter", "$orderby"])
def test_an_odd_filter_or_order_is_refused_or_finds_nothing(campaign: Campaign, option: str):
    for odd in FILTERS:
        answer = campaign.send("GET", "/openai/batches", params={option: odd})
        if answer.status_code == 200:
            assert answer.json()["data"] == []
        else:
            assert answer.status_code == 400


@pytest.mark.parametrize(("method", "path"), ITEMS)
def test_an_odd_id_is_not_found(campaign: Campaign, method: str, path: str):
    for what, odd in IDS.items():
        answer = campaign.send(method, path.format(odd))
        assert answer.status_code == 404, what
        assert answer.json()["error"]["code"] in {"notFound", "404"}
