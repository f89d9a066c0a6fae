"""The scripted engine keeps to its script, so that tests built on it mean something."""

import json
import urllib.error
import urllib.request

import pytest
from tests.support.running_engine import RunningEngine, scripted_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with scripted_engine(tmp_path_factory.mktemp("engine"), "--slots", "8") as running:
        yield running


def ask(engine: RunningEngine, text: str, **more: object) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    url = engine.base_url + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def test_it_answers_and_counts(engine):
    engine.forget()

    answer = json.loads(ask(engine, "hello [[say hi there]]"))

    assert answer["choices"][0]["message"]["content"] == "hi there"
    assert engine.asked()["by_text"] == {"hello [[say hi there]]": 1}
    assert engine.logged()[-1]["text"] == "hello [[say hi there]]"


def test_it_fails_as_often_as_told(engine):
    text = "twice [[fail 429 x2]] [[retry-after 3]]"

    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as error:
            ask(engine, text)
        assert (error.value.code, error.value.headers["retry-after"]) == (429, "3")
        error.value.close()

    assert "choices" in ask(engine, text)


def test_it_drops_a_connection(engine):
    with pytest.raises(OSError, match=r"closed|reset"):
        ask(engine, "[[drop]]")


def test_it_streams_a_word_a_piece(engine):
    text = ask(engine, "[[tokens 3]]", stream=True, stream_options={"include_usage": True})

    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert said == "word word word"
    assert chunks[-1]["usage"]["completion_tokens"] == 3
