"""Retrieved documents in a chat's prompt; four letters are a token where nobody counts."""

from typing import Any

import pytest

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.errors import InferenceRefused
from linarite.resources.inference.documents import Room, question_of, with_documents
from linarite.settings import Upstream

PLACE = ModelPlace("tiny", upstream=Upstream(base_url="http://127.0.0.1:1"))


def shown(chat: dict[str, Any], *documents: str, window: int | None = 2000, **more: Any) -> Any:
    room = Room(Tokens(), PLACE, window)
    told = {"role_information": None, "in_scope": True} | more
    return with_documents(chat, [(None, text) for text in documents], room, **told)


def chat(*texts: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts], **more}


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_prompt_and_answer_fit_into_the_window_whatever_is_found(limit: str):
    asked = chat("How hot?", n=3, **{limit: 500})

    body, count = shown(asked, *["words " * 200] * 20)

    tokens = Tokens().count_chat(PLACE, body).tokens
    assert 1300 < tokens <= 1500
    assert count == 5


def test_a_last_document_is_cut_to_what_is_left():
    body, count = shown(chat("How hot?", max_tokens=500), "a" * 4000, "b" * 4000)

    text = body["messages"][-1]["content"]
    assert count == 2
    assert "a" * 4000 in text
    assert 500 < text.count("b") < 2000


def test_the_best_document_stands_next_to_the_question():
    body, _count = shown(chat("How hot?"), "the best one", "the second")

    text = body["messages"][-1]["content"]
    assert text.endswith("[doc2]\nthe second\n\n[doc1]\nthe best one\n\nQuestion: How hot?")


def test_without_any_room_nothing_is_asked():
    with pytest.raises(InferenceRefused, match="leave no room") as raised:
        shown(chat("How hot?", max_tokens=1990), "a document")
    assert raised.value.openai_code == "context_length_exceeded"


def test_a_model_whose_window_nobody_knows_is_shown_eight_thousand_tokens():
    body, _count = shown(chat("How hot?"), *["words " * 1000] * 20, window=None)

    assert 6000 < Tokens().count_chat(PLACE, body).tokens < 7200


def test_parts_of_a_message_are_read_as_one_text():
    parts = [{"type": "text", "text": "How hot"}, {"type": "text", "text": "is the kiln?"}]

    assert question_of(chat(parts)) == "How hot\nis the kiln?"


def test_a_short_question_is_looked_for_with_the_one_before():
    assert question_of(chat("Tell me of kilns.", "How hot?")) == "Tell me of kilns. How hot?"
    assert question_of(chat("Tell me of kilns.", "How hot is that one?")) == "How hot is that one?"


@pytest.mark.parametrize("messages", [[{"role": "system", "content": "Be brief."}], []])
def test_without_a_question_there_is_nothing_to_look_for(messages: list[Any]):
    with pytest.raises(InferenceRefused, match="needs a message of the user"):
        question_of({"messages": messages})
