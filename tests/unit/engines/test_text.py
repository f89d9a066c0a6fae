"""Text comes out token by token without broken letters, and ends before a stop string."""

import time

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from linarite.engines.text import Shield, TextStream


@pytest.fixture(scope="module")
def tokenizer():
    """One token a byte: every letter beyond ASCII is several tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    return made


def tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "text", ["plain", "zażółć gęślą", "👩🏽\u200d🚀 flies", "日本語 テスト", "a\n\n b"]
)
def test_pieces_are_whole_letters_and_make_the_text(tokenizer, text):
    stream = TextStream(tokenizer)

    pieces = [stream.add([token]) for token in tokens(tokenizer, text)] + [stream.end()]

    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert stream.count == len(tokens(tokenizer, text))


def test_a_letter_that_never_ends_is_shown_as_broken_at_the_end(tokenizer):
    stream = TextStream(tokenizer)
    half = tokens(tokenizer, "x€")[:-1]

    pieces = [stream.add([token]) for token in half]

    assert "".join(pieces) == "x"
    assert "\ufffd" in stream.end()


def test_bytes_that_are_no_letters_take_no_longer_the_more_there_are(tokenizer):
    half, letters = tokens(tokenizer, "€")[1], tokens(tokenizer, "fine €")

    def pieces(count: int) -> tuple[float, str]:
        stream = TextStream(tokenizer)
        began = time.process_time()
        said = [stream.add([token]) for token in [*[half] * count, *letters]]
        return time.process_time() - began, "".join([*said, stream.end()])

    pieces(100)
    short, _ = pieces(1_000)
    long, text = pieces(8_000)

    assert text == "\ufffd" * 8_000 + "fine €"
    assert long < 20 * short


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        (["STOP"], "one two "),
        (["zzz", "two"], "one "),
        (["STOP", " STOP"], "one two"),
        (["never"], "one two STOP three"),
        (["three!"], "one two STOP three"),
    ],
)
def test_text_ends_before_the_first_stop_string(tokenizer, stops, expected):
    stream = TextStream(tokenizer, stops)

    shown = "".join(stream.add([token]) for token in tokens(tokenizer, "one two STOP three"))

    assert shown + stream.end() == expected
    assert stream.is_stopped == (expected != "one two STOP three")


def test_tokens_after_a_stop_string_are_not_counted(tokenizer):
    stream = TextStream(tokenizer, ["b"])

    stream.add(tokens(tokenizer, "abcdef"))

    assert stream.count == 2


def test_a_special_token_has_no_text(tokenizer):
    stream = TextStream(tokenizer)

    shown = stream.add([*tokens(tokenizer, "hi"), tokenizer.token_to_id("<end>")])

    assert shown + stream.end() == "hi"
    assert stream.count == 3


def test_tokens_are_told_with_the_text_that_they_write(tokenizer):
    stream = TextStream(tokenizer)

    told = [(stream.add([token]), stream.told) for token in tokens(tokenizer, "a€b")]

    assert told == [("a", 1), ("", 1), ("", 1), ("€", 4), ("b", 5)]


@pytest.mark.parametrize(("stops", "told"), [(["two"], 4), (["e two"], 2), (["one"], 0)])
def test_tokens_of_a_stop_string_are_not_told(tokenizer, stops, told):
    stream = TextStream(tokenizer, stops)

    stream.add(tokens(tokenizer, "one two three"))
    stream.end()

    assert stream.told == told


def test_a_token_that_writes_nothing_is_told_at_the_end(tokenizer):
    stream = TextStream(tokenizer)

    stream.add([*tokens(tokenizer, "hi"), tokenizer.token_to_id("<end>")])

    assert stream.told == 2
    stream.end()
    assert stream.told == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one <call>two stop", "one <call>two stop"),
        ("one stop <call>", "one "),
        ("one <cal stop", "one <cal "),
        ("one <ca", "one <ca"),
        ("one call> two", "one "),
    ],
)
def test_a_stop_string_ends_nothing_from_the_shield_on(tokenizer, text, shown):
    stream = TextStream(tokenizer, ["stop", "call>"], Shield(["<call>"]))

    said = "".join(stream.add([token]) for token in tokens(tokenizer, text))

    assert said + stream.end() == shown
    assert stream.is_stopped == (shown != text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<call>two stop", "<call>two stop"),
        ("<cal stop", "<cal "),
        ("one <call>two stop", "one <call>two "),
        ("<call> <cast stop", "<call> <cast stop"),
        ("<cast stop", "<"),
    ],
)
def test_a_shield_may_be_one_only_at_the_start(tokenizer, text, shown):
    stream = TextStream(tokenizer, ["stop", "cast"], Shield(["<call>", "<cast>"], at_start=True))

    said = "".join(stream.add([token]) for token in tokens(tokenizer, text))

    assert said + stream.end() == shown
