"""Log-probabilities in OpenAI's forms: texts, bytes and offsets fit the answer's text."""

import pytest
from tokenizers import Tokenizer, decoders, models

from linarite.engines.logprobs import TokenTexts

WORDS = [b"one", b" tw", b"o ", b"\xe2\x82", b"\xac", b""]
SPOKEN = [(place, -float(place)) for place in range(len(WORDS))]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Its tokens are words that it joins; the last one is its end."""
    made = Tokenizer(models.WordLevel({f"w{place}": place for place in range(5)} | {"<end>": 5}))
    made.decoder = decoders.Fuse()
    return made


def test_a_chats_tokens_have_text_and_bytes_also_where_they_are_pieces_of_a_letter(tokenizer):
    told = TokenTexts(tokenizer, WORDS).of_chat(SPOKEN)["content"]

    assert [one["token"] for one in told] == ["one", " tw", "o ", r"\xe2\x82", r"\xac", "<end>"]
    assert [one["bytes"] for one in told][-3:] == [[0xE2, 0x82], [0xAC], None]
    assert told[1] == {"token": " tw", "logprob": -1.0, "bytes": [32, 116, 119], "top_logprobs": []}


def test_a_completions_tokens_have_their_place_in_its_text(tokenizer):
    told = TokenTexts(tokenizer, WORDS).of_completion(SPOKEN, 100)

    assert told["tokens"][2:] == ["o ", r"bytes:\xe2\x82", r"bytes:\xac", "<end>"]
    assert told["text_offset"] == [100, 103, 106, 108, 108, 109]
    assert told["token_logprobs"] == [-0.0, -1.0, -2.0, -3.0, -4.0, -5.0]


def test_without_the_words_a_token_tells_what_it_decodes_to(tokenizer):
    texts = TokenTexts(tokenizer, None)

    assert (texts.text_of(1), texts.bytes_of(1)) == ("w1", b"w1")
