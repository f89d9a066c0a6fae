"""What the filter makes of an engine's whole answer."""

import asyncio

import orjson
import pytest
from tests.support.running_engine import scripted_engine

from linarite.engines.client import Engines, Reply
from linarite.errors import InferenceRefused
from linarite.http.metrics import Metrics
from linarite.resources.inference.filtering import ContentFilter, Filtering
from linarite.resources.inference.service import CHAT
from linarite.settings import ContentFilterSettings

SAID = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with scripted_engine(tmp_path_factory.mktemp("moderation")) as running:
        yield running


def checked(endpoint, folder, *choices, headers=None, body=None):
    settings = ContentFilterSettings(base_url=endpoint.base_url)
    reply = Reply(200, headers or {}, body or orjson.dumps({"choices": choices}))

    async def check():
        async with Engines(folder / "no.sock") as engines:
            judge = ContentFilter(settings, Metrics())
            filtering = Filtering(judge, engines, CHAT, {"messages": []})
            return await filtering.checked(reply)

    return asyncio.run(check())


def test_the_engines_length_is_not_that_of_the_answer(endpoint, tmp_path):
    headers = {"content-length": "77", "x-request-id": "1"}

    assert checked(endpoint, tmp_path, SAID, headers=headers).headers == {"x-request-id": "1"}


def test_each_choice_is_judged_by_itself(endpoint, tmp_path):
    message = {"role": "assistant", "content": None, "reasoning_content": "hate=0.9"}
    cruel = {"index": 1, "message": message, "finish_reason": "stop"}

    answer = orjson.loads(checked(endpoint, tmp_path, SAID, cruel).body)

    kept, removed = answer["choices"]
    assert kept["message"] == SAID["message"]
    assert (removed["index"], removed["finish_reason"]) == (1, "content_filter")
    assert "hate=0.9" not in str(answer)


def test_a_choice_without_text_asks_nobody(endpoint, tmp_path):
    endpoint.forget()
    silent = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}

    answer = orjson.loads(checked(endpoint, tmp_path, silent).body)

    assert answer["choices"] == [silent | {"content_filter_results": {}}]
    assert endpoint.asked()["total"] == 0


@pytest.mark.parametrize("when_away", ["refuse", "pass"])
@pytest.mark.parametrize("subject", ["prompt", "answer"])
def test_what_the_endpoint_does_not_take_never_passes(endpoint, tmp_path, subject, when_away):
    settings = ContentFilterSettings(base_url=endpoint.base_url, when_away=when_away)

    async def check():
        async with Engines(tmp_path / "no.sock") as engines:
            await ContentFilter(settings, Metrics()).check(engines, subject, [["fail=413"]])

    with pytest.raises(InferenceRefused, match=f"cannot judge this {subject}") as refused:
        asyncio.run(check())

    assert refused.value.status == 400
    assert refused.value.openai_code == "content_filter_error"


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": [{}]}', b'{"choices": [1]}', b'{"choices": 5}']
)
def test_what_is_no_answer_is_none(endpoint, tmp_path, body):
    with pytest.raises(InferenceRefused) as refused:
        checked(endpoint, tmp_path, body=body)

    assert refused.value.status == 502
