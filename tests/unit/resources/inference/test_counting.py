"""What a request may come to is told before an engine sees it, and is never nothing by mistake."""

import pytest

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.resources.inference.counting import answer_tokens, prompt_tokens
from linarite.settings import Upstream

CHAT = "/chat/completions"
COMPLETIONS = "/completions"
UPSTREAM = ModelPlace("u", upstream=Upstream(base_url="http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"prompt": "a", "max_tokens": 1000}, 1000),
        ({"prompt": "a", "max_tokens": 1000, "n": 2}, 2000),
        ({"prompt": "a", "max_tokens": 1000, "n": 2, "best_of": 3}, 3000),
        ({"prompt": ["a"] * 2048, "max_tokens": 1000}, 2_048_000),
        ({"prompt": [1, 2, 3], "max_tokens": 1000}, 1000),
        ({"prompt": [[1], [2, 3]], "max_tokens": 1000, "n": 3}, 6000),
        ({"prompt": []}, 0),
        ({"prompt": ["a", "b"]}, 32),
        ({"prompt": "a", "max_tokens": "many"}, 0),
    ],
)
def test_every_prompt_has_its_answers(body, tokens):
    assert answer_tokens(COMPLETIONS, body, unnamed=16) == tokens


def test_a_chat_has_no_prompts():
    assert answer_tokens(CHAT, {"prompt": ["a"] * 9, "max_completion_tokens": 7}) == 7


def test_however_much_is_asked_fits_where_it_is_kept():
    greedy = {"prompt": [""] * 100_000, "max_tokens": 2**63, "n": 128}

    assert 100_000 * answer_tokens(COMPLETIONS, greedy) < 2**63


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None},
        {"messages": ["hello"]},
        {"messages": [{"role": "user", "content": "a"}], "tools": 5},
        {"messages": [{"role": "assistant", "tool_calls": [5]}], "functions": {"a": 1}},
    ],
)
def test_what_is_ill_made_counts_as_little(body):
    assert prompt_tokens(Tokens(), UPSTREAM, CHAT, body) < 20
