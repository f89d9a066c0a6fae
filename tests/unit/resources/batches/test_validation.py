from typing import Any

import orjson
import pytest

from linarite.resources.batches.validation import (
    EMPTY,
    MOST_FAULTS,
    NO_MODEL,
    Rules,
    Seen,
    Verdict,
    short_number,
    token_limit_fault,
    validate,
)
from linarite.resources.deployments.records import DeploymentRecord, Target
from linarite.resources.models.records import ModelRecord

CHAT = Target(DeploymentRecord("chat", "*", "tiny", 30_000, 0, 0), ModelRecord("tiny", "chat"))


def line(custom_id: str = "a", model: object = "chat", **changes: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/chat/completions",
        "body": body,
    } | changes


def found(*lines: object, **changes: Any) -> Verdict:
    data = b"\n".join(text if isinstance(text, bytes) else orjson.dumps(text) for text in lines)
    rules = {
        "endpoint": "/chat/completions",
        "most_requests": 1000,
        "longest_line": 10_000,
        "resolve": {"chat": CHAT}.get,
        "token_count": lambda target: lambda body: 7,
    } | changes
    return validate([data], Rules(**rules))


def faults(*lines: object, **changes: Any) -> list[tuple[str, int | None]]:
    return [(fault.code, fault.line) for fault in found(*lines, **changes).faults]


def test_a_good_input_is_counted():
    verdict = found(line("a"), line("b"), b"", line("c", url="/v1/chat/completions"), b"\n")

    assert verdict.faults == []
    assert (verdict.requests, verdict.tokens, verdict.target) == (3, 21, CHAT)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("a"), b"{'a': 1}"], [("invalid_json_line", 2)]),
        ([line("a"), b"[]"], [("invalid_json_line", 2)]),
        ([line("a"), b"", line("a")], [("duplicate_custom_id", 3)]),
        ([line("a"), line("b", url="/embeddings")], [("url_mismatch", 2)]),
        ([line("a", model=None)], [("model_not_found", 1)]),
        ([line("a", model="nobody")], [("model_not_found", 1)]),
        ([line("a"), line("b", model="other")], [("model_mismatch", 2)]),
        ([line("a", method="GET")], [("invalid_request", 1)]),
        ([line("a", body=None)], [("invalid_request", 1)]),
        ([line("a"), b"x" * 10_001], [("invalid_request", 2)]),
        ([b""], [("empty_file", None)]),
        ([b" \n\t\n"], [("empty_file", None)]),
        ([b"\xef\xbb\xbf" + orjson.dumps(line("a")), line("b")], [("model_not_found", 1)]),
    ],
)
def test_each_fault_has_its_code_and_line(lines, expected):
    assert faults(*lines) == expected


def test_several_faults_are_told_at_once():
    found = faults(line("a"), b"{", line("a", model="other", url="/completions"))

    assert found == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
        ("url_mismatch", 3),
        ("model_mismatch", 3),
    ]


def test_faults_are_told_up_to_a_bound():
    assert len(faults(*[b"{"] * 500)) == MOST_FAULTS


def test_too_many_requests_are_one_fault():
    assert faults(*[line(str(n)) for n in range(4)], most_requests=3) == [("too_many_tasks", None)]


def test_a_deployment_that_cannot_answer_the_endpoint_is_a_fault():
    asked = line("a", url="/embeddings")

    assert faults(asked, endpoint="/embeddings") == [("invalid_request", 1)]


def test_known_texts_are_the_services_own():
    assert found(b"").faults[0].message == EMPTY
    assert found(line(model=5)).faults[0].message == NO_MODEL
    assert token_limit_fault(30_000, "gpt-4.1-batch").message == (
        "The number of enqueued tokens has surpassed the configured limit of 30K for the "
        "deployment 'gpt-4.1-batch'. Please either increase the limit or try again once the "
        "current jobs have finished."
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(30_000, "30K"), (5_000_000, "5M"), (200_000_000, "200M"), (1_500, "1500"), (12, "12")],
)
def test_limits_are_written_short(number, text):
    assert short_number(number) == text


def test_what_passes_is_measured():
    seen = Seen([b"ab", b"c"])

    assert b"".join(seen) == b"abc"
    assert seen.bytes == 3
    assert seen.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_work_can_be_ended_while_it_reads():
    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        found(line("a"), check=check)
