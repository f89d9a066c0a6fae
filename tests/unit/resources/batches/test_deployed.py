import aiohttp
import pytest

from linarite.engines.place import ModelPlace
from linarite.engines.posting import NotConnected
from linarite.engines.refusals import EngineFailure, EngineUnreachable
from linarite.engines.tokens import Tokens
from linarite.resources.batches.deployed import TokenCounts, was_reached
from linarite.resources.deployments.records import DeploymentRecord, Target
from linarite.resources.models.records import ModelRecord
from linarite.settings import Upstream

TARGET = Target(DeploymentRecord("chat", "*", "tiny", 1000, 0, 0), ModelRecord("tiny", "chat"))


def count(endpoint: str, body: dict[str, object]) -> int:
    """Without a tokenizer: a token for 4 letters begun, and 4 for each message."""
    place = ModelPlace("tiny", upstream=Upstream(base_url="http://127.0.0.1:1"))
    return TokenCounts(Tokens(), lambda model: place)(endpoint, TARGET)(body)


def nested(depth: int) -> list[object]:
    inner: list[object] = ["deep"]
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": "12345678"}]}, 6),
        ("/chat/completions", {"messages": [], "max_tokens": 30}, 30),
        ("/chat/completions", {"messages": [], "max_completion_tokens": 30, "n": 2}, 60),
        ("/completions", {"prompt": "12345", "max_tokens": 8}, 10),
        ("/completions", {"prompt": [1, 2, 3]}, 3),
        ("/embeddings", {"input": ["1234", "1234"]}, 2),
    ],
)
def test_a_request_costs_its_prompt_and_its_longest_answers(endpoint, body, expected):
    assert count(endpoint, body) == expected


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/chat/completions", {}),
        ("/chat/completions", {"messages": "hello"}),
        ("/chat/completions", {"messages": [5, None], "max_tokens": "many", "n": []}),
        ("/completions", {"prompt": {"a": 1}, "max_tokens": -5}),
        ("/completions", {"prompt": [5.5], "max_tokens": 1.5}),
        ("/completions", {"prompt": nested(1000)}),
        ("/embeddings", {"input": None}),
    ],
)
def test_a_request_that_its_engine_will_refuse_costs_nothing(endpoint, body):
    assert count(endpoint, body) == 0


def test_absurd_numbers_are_bounded():
    body = {"messages": [], "max_tokens": 10**30, "n": 10**30}

    assert count("/chat/completions", body) == 10**12


def caused(failure: Exception, cause: BaseException | None) -> Exception:
    failure.__cause__ = cause
    return failure


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (caused(EngineUnreachable(), ConnectionResetError()), True),
        (caused(EngineUnreachable(), TimeoutError()), True),
        (caused(EngineUnreachable(), NotConnected()), False),
        (caused(EngineUnreachable(), aiohttp.ClientConnectorError(None, OSError())), False),
        (EngineUnreachable(), False),
        (caused(EngineFailure(), ConnectionResetError()), False),
    ],
)
def test_an_engine_was_reached_when_it_went_away_with_a_request(failure, expected):
    assert was_reached(failure) is expected
