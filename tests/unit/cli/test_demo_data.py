"""What the demo learns from."""

import json
from importlib import resources
from typing import Any

DATA = resources.files("linarite.cli") / "demo_data"


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def _said(example: dict[str, Any], key: str) -> str:
    [message] = example[key]
    return str(message["content"])


def test_both_methods_learn_the_same_answers():
    answers = [example["messages"][1]["content"] for example in _lines("supervised.jsonl")]

    assert answers == [_said(example, "preferred_output") for example in _lines("dpo.jsonl")]


def test_no_rejected_answer_is_much_shorter_than_the_preferred_one():
    """So that the pairs differ in style and not in length."""
    lengths = [
        [len(_said(example, key)) for key in ("preferred_output", "non_preferred_output")]
        for example in _lines("dpo.jsonl")
    ]

    preferred, rejected = map(sum, zip(*lengths, strict=True))
    assert preferred <= rejected
    assert all(one < 1.7 * other for one, other in lengths)
