"""Batches on the embedded model through the newest official SDK."""

import json
from typing import Any

import openai
import pytest
from tests.end_to_end.conftest import CHAT_BATCH, STORY, Sdk, chat_lines, settled
from tests.support.embedded import EMBEDDING
from tests.support.files import until


def a_batch(client: Any, content: bytes, **changes: Any) -> Any:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, **(CHAT_BATCH | changes))


def answers(client: Any, file_id: str) -> dict[str, Any]:
    lines = client.files.content(file_id).text.splitlines()
    return {line["custom_id"]: line["response"] for line in map(json.loads, lines)}


def test_a_batch_answers_every_question(client: Any):
    created = a_batch(client, chat_lines(6), metadata={"why": "to try it"})
    batch = settled(client, created.id)

    assert (created.status, batch.status) == ("validating", "completed")
    assert batch.metadata == {"why": "to try it"}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (6, 0)
    answered = answers(client, batch.output_file_id)
    assert sorted(answered) == [str(number) for number in range(6)]
    assert all(answer["body"]["choices"][0]["message"]["content"] for answer in answered.values())
    assert client.files.content(batch.error_file_id).read() == b""


def test_a_line_that_the_model_cannot_take_is_in_the_error_file(client: Any):
    asked = chat_lines(1) + b"\n" + chat_lines(1, max_tokens=100_000).replace(b'"0"', b'"long"')

    batch = settled(client, a_batch(client, asked).id)

    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    refused = answers(client, batch.error_file_id)["long"]
    assert refused["status_code"] == 400
    assert refused["body"]["error"]["code"] == "context_length_exceeded"


def test_a_line_may_ask_for_an_answer_that_fits_a_schema(client: Any):
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    inner = {"name": "sum", "schema": schema, "strict": True}
    form = {"type": "json_schema", "json_schema": inner}
    asked = chat_lines(3, response_format=form, max_tokens=40)

    batch = settled(client, a_batch(client, asked).id)

    answered = answers(client, batch.output_file_id).values()
    texts = [answer["body"]["choices"][0]["message"]["content"] for answer in answered]
    assert [list(json.loads(text)) for text in texts] == [["sum"]] * 3


def test_a_batch_embeds_texts(client: Any):
    body = {"model": EMBEDDING, "input": "a cat"}
    line = {"custom_id": "cat", "method": "POST", "url": "/v1/embeddings", "body": body}

    created = a_batch(client, json.dumps(line).encode(), endpoint="/v1/embeddings")
    batch = settled(client, created.id)

    answer = answers(client, batch.output_file_id)["cat"]
    assert len(answer["body"]["data"][0]["embedding"]) == 384


def test_a_batch_that_makes_no_sense_fails_with_its_lines(client: Any):
    batch = settled(client, a_batch(client, chat_lines(1) + b"\n" + chat_lines(1)).id)

    assert batch.status == "failed"
    assert [(one.code, one.line) for one in batch.errors.data] == [("duplicate_custom_id", 2)]


def test_a_running_batch_is_cancelled_and_an_ended_one_cannot_be(sdk: Sdk):
    created = a_batch(sdk.client, chat_lines(300, messages=STORY, max_tokens=200))
    until(lambda: sdk.client.batches.retrieve(created.id).status == "in_progress", "it runs")

    cancelling = sdk.client.batches.cancel(created.id)
    cancelled = settled(sdk.client, created.id)

    assert (cancelling.status, cancelled.status) == ("cancelling", "cancelled")
    sdk.asked.clear()
    with pytest.raises(openai.ConflictError):
        sdk.client.batches.cancel(created.id)
    assert len(sdk.asked) == 1


def test_the_list_pages_by_itself(client: Any):
    made = [a_batch(client, chat_lines(1)).id for _ in range(3)]

    newest = client.batches.list(limit=1)
    listed = [batch.id for batch in newest]

    assert len(newest.data) == 1
    assert listed[:3] == made[::-1]
    assert len(listed) == len(set(listed))


def test_an_unknown_batch_is_not_found(client: Any):
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_00000000-0000-4000-8000-000000000000")
