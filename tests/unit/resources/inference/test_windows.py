"""A stream's events wait until what they say was judged; pieces may be cut anywhere."""

import asyncio

import orjson
import pytest

from linarite.engines.refusals import EngineFailure
from linarite.errors import InferenceRefused
from linarite.resources.inference.filtered import RESULTS, Results
from linarite.resources.inference.windows import Window

FOUND = {"violence": {"filtered": True, "severity": "high"}}
DONE = b"data: [DONE]\n\n"


class Judge:
    """Filters what says `bad`; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    async def __call__(self, texts):
        self.asked.extend(texts)
        if any("broken" in text for text in texts):
            raise InferenceRefused("nobody judges", status=503)
        return [Results(FOUND, True) if "bad" in text else Results({"fine": 1}) for text in texts]


def event(text=None, index=0, *, finish=None, **fields):
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    said = {"id": "1", "object": "chat.completion.chunk", "choices": [choice]} | fields
    return b"data: " + orjson.dumps(said) + b"\n\n"


def passed(*events, characters=4, answers=1, cut=None):
    """What leaves of a stream, parsed; and what was judged."""
    judge = Judge()
    whole = b"".join(events)
    size = cut or len(whole)

    async def chunks():
        for place in range(0, len(whole), size):
            yield whole[place : place + size]

    async def run():
        window = Window(judge, characters, answers)
        return b"".join([chunk async for chunk in window.events(chunks())])

    out = asyncio.run(run())
    lines = [line.removeprefix(b"data: ") for line in out.split(b"\n\n") if line]
    return [line if line == b"[DONE]" else orjson.loads(line) for line in lines], judge.asked


def choices(said):
    return [one for event in said if event != b"[DONE]" for one in event.get("choices", ())]


def texts(said, index=0):
    found = [one for one in choices(said) if one["index"] == index]
    return "".join(one["delta"].get("content", "") for one in found)


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_harmless_text_passes_whole_with_what_was_found(cut):
    said, asked = passed(event("ab"), event("cdé"), event("e"), event(finish="stop"), DONE, cut=cut)

    assert texts(said) == "abcdée"
    assert [one[RESULTS] for one in choices(said)] == [{"fine": 1}] * 3 + [{}]
    assert said[-1] == b"[DONE]"
    assert asked == ["abcdé", "bcdée"], "each window with the end of the one before it"


def test_a_window_is_not_seen_before_it_was_judged():
    said, _ = passed(event("good"), event("b"), event("ad"), event("!!!!"), DONE)

    assert texts(said) == "good"
    assert choices(said)[-1] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "content_filter",
        RESULTS: FOUND,
    }
    assert said[-1] == b"[DONE]"


def test_what_stands_across_two_windows_is_found():
    said, asked = passed(event("go b"), event("ad"), event(finish="stop"), DONE)

    assert (texts(said), asked) == ("go b", ["go b", "go bad"])
    assert choices(said)[-1]["finish_reason"] == "content_filter"


def test_an_end_that_the_engine_tells_does_not_follow_that_of_the_filter():
    said, _ = passed(event("bad", finish="stop"), DONE)

    assert [one["finish_reason"] for one in choices(said)] == ["content_filter"]


def test_other_answers_go_on():
    events = [event("bad!", 0), event("fine", 1), event("more", 0), event("end", 1)]
    said, _ = passed(*events, event(finish="stop", index=1), DONE, answers=2)

    assert (texts(said, 0), texts(said, 1)) == ("", "fineend")
    assert [one["finish_reason"] for one in choices(said) if one["finish_reason"]] == [
        "content_filter",
        "stop",
    ]


def test_every_text_of_an_event_is_judged():
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a": "ba'}}
    more = {"index": 0, "function": {"arguments": 'd"}'}}
    events = [
        event(choices=[{"index": 0, "delta": {"tool_calls": [one]}, "finish_reason": None}])
        for one in (call, more)
    ]

    said, _ = passed(*events, DONE, characters=100)

    assert choices(said)[-1]["finish_reason"] == "content_filter"
    assert "tool_calls" not in str(said)


def test_usage_passes_in_its_place():
    usage = event(choices=[], usage={"total_tokens": 3})

    said, _ = passed(event("ab"), event(finish="stop"), usage, DONE)

    assert said[-2]["usage"] == {"total_tokens": 3}


def test_an_engines_error_comes_after_what_it_said_before():
    said, _ = passed(event("ab"), b'data: {"error": {"message": "gone"}}\n\n', DONE)

    assert texts(said) == "ab"
    assert said[1]["error"] == {"message": "gone"}


def test_what_nobody_judges_does_not_leave():
    said, _ = passed(event("good"), event("broken"), DONE)

    assert texts(said) == "good"
    assert said[-1]["error"]["message"] == "nobody judges"


@pytest.mark.parametrize(
    "data",
    [
        b"{not json",
        b'{"choices": [{"delta": {"content": "x"}}]}',
        b'{"choices": [{"index": 0, "delta": 5}]}',
        b'["bad"]',
        b'"bad"',
    ],
)
def test_an_event_that_cannot_be_read_ends_the_stream(data):
    with pytest.raises(EngineFailure, match="cannot be judged"):
        passed(b"data: " + data + b"\n\n", DONE)


def test_what_is_no_event_does_not_leave():
    said, _ = passed(b": bad\n", b"event: bad\n", event("ab"), DONE)

    assert "bad" not in str(said)
    assert texts(said) == "ab"


def test_of_a_filtered_call_of_a_tool_nothing_is_left():
    def call(**said):
        delta = {"tool_calls": [{"index": 0, **said}]}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return b"data: " + orjson.dumps({"id": "1", "choices": [choice]}) + b"\n\n"

    role = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
    said, _ = passed(
        role,
        call(id="call-1", function={"name": "f", "arguments": ""}),
        call(function={"arguments": ""}),
        call(function={"arguments": "bad"}),
        DONE,
    )

    deltas = [choice["delta"] for choice in choices(said)]
    assert deltas == [{"role": "assistant", "content": ""}, {}]
    assert choices(said)[-1]["finish_reason"] == "content_filter"
