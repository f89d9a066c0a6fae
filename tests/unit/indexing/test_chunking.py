"""Where texts are cut."""

import base64
import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.embedded import CHAT, EMBEDDING, models_folder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from linarite.indexing.chunking import Chunker, Cutting, Piece
from linarite.indexing.counting import guessed_tokens

PROSE = (
    "The museum keeps quartz, topaz and talc in the long room. Each stone lies on a card that "
    "tells where it was found, by whom and when; a visitor may touch those with a green point."
    "\n\n"
)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


def byte_tokenizer() -> Tokenizer:
    """As GPT-2's, with a token at both ends; set to cut and to fill up, as some files are."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PROSE] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.enable_truncation(32)
    tokenizer.enable_padding(length=32)
    return tokenizer


def word_tokenizer() -> Tokenizer:
    """As BERT's: a word that it does not know is one token, however long."""
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "stone": 4, ".": 5, "##s": 6}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


TOKENIZERS = {"bytes": byte_tokenizer(), "words": word_tokenizer(), "none": None}


def cutting(tokenizer: Tokenizer | None, *tokens: int) -> Cutting:
    return Cutting(None if tokenizer is None else tokenizer.to_str(), *tokens)


def chunker(tokenizer: Tokenizer | None, *tokens: int) -> Chunker:
    return Chunker(cutting(tokenizer, *tokens))


def counter(tokenizer: Tokenizer | None) -> Callable[[str], int]:
    if tokenizer is None:
        return guessed_tokens
    exact = Tokenizer.from_str(tokenizer.to_str())
    exact.no_truncation()
    exact.no_padding()
    return lambda text: len(exact.encode(text))


def uncovered(text: str, pieces: list[Piece]) -> str:
    """What of a text is in no piece, without whitespace."""
    rest, done = "", 0
    for piece in pieces:
        rest += text[done : max(done, piece.start)]
        done = max(done, piece.end)
    return "".join((rest + text[done:]).split())


texts = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(
            ["# Heading\n", "\n\n", "| a | b |\n|---|---|\n", "```\n", "> ", "- ", FAMILY]
        ),
        st.sampled_from(
            [PROSE, "x" * 700, "\u6771\u4eac\u90fd\u3002" * 200, "e\u0301" * 400, " " * 900]
        ),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=80, deadline=None)
@given(
    texts, st.sampled_from(sorted(TOKENIZERS)), st.sampled_from([16, 50, 300]), st.integers(0, 200)
)
def test_pieces_cover_the_text_within_the_limit(text, kind, max_tokens, overlap):
    tokenizer = TOKENIZERS[kind]
    count = counter(tokenizer)

    pieces = chunker(tokenizer, max_tokens, overlap).chunk(text)

    assert all(text[piece.start : piece.end] == piece.text for piece in pieces)
    assert all(piece.text.strip() for piece in pieces)
    assert max((count(piece.text) for piece in pieces), default=0) <= max_tokens
    assert max((len(piece.text) for piece in pieces), default=0) <= 16 * max_tokens
    assert [piece.start for piece in pieces] == sorted({piece.start for piece in pieces})
    assert uncovered(text, pieces) == ""


def test_a_piece_that_is_cut_once_more_begins_nowhere_twice():
    text = f"00\x800\x80\x80\U00010000\x80{PROSE}"

    pieces = chunker(byte_tokenizer(), 16, 4).chunk(text)

    assert [piece.start for piece in pieces] == sorted({piece.start for piece in pieces})
    assert uncovered(text, pieces) == ""


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u3000"])
def test_a_blank_text_has_no_pieces(text):
    assert chunker(None).chunk(text) == []


def test_a_short_text_is_one_piece():
    assert chunker(byte_tokenizer()).chunk("# Title\n\nWords.") == [Piece(0, "# Title\n\nWords.")]


def test_pieces_begin_at_headings():
    text = "".join(f"## Room {n}\n\n{PROSE}" for n in range(6))

    pieces = chunker(None, 100, 0).chunk(text)

    assert [piece.text.partition("\n")[0] for piece in pieces] == [f"## Room {n}" for n in range(6)]


def test_tables_are_cut_between_rows():
    rows = [f"| {n} | stone number {n} |" for n in range(200)]
    text = "\n".join(["| No | Name |", "|---|---|", *rows])

    pieces = chunker(byte_tokenizer(), 100, 20).chunk(text)

    assert len(pieces) > 10
    assert {line for piece in pieces for line in piece.text.splitlines()} <= set(text.splitlines())


def test_a_piece_repeats_the_end_of_the_one_before_at_most_a_quarter():
    text = "stone after stone " * 200

    overlaps = {}
    for asked in (0, 20, 1000):
        pieces = chunker(None, 100, asked).chunk(text)
        pairs = pairwise(pieces)
        overlaps[asked] = max(
            guessed_tokens(text[later.start : max(later.start, piece.end)])
            for piece, later in pairs
        )

    assert overlaps[0] == 0
    assert 0 < overlaps[20] <= 20
    assert overlaps[20] < overlaps[1000] <= 25


def test_whole_characters_are_kept_whole_where_nothing_else_is():
    """Accents stay with their letters and families together in what has no words."""
    for kind, tokenizer in TOKENIZERS.items():
        text = ("e\u0301" * 300 + FAMILY * 60) * 3

        pieces = chunker(tokenizer, 64, 16).chunk(text)

        assert not any(piece.text[0] in "\u0301\u200d" for piece in pieces), kind


def test_a_heading_stays_with_a_line_that_has_no_joints():
    text = "# The key\n\n" + "0123456789abcdef" * 100

    first, *_ = chunker(byte_tokenizer(), 128).chunk(text)

    assert first.text.startswith("# The key\n\n0123")


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@pytest.mark.parametrize(
    "make",
    [
        lambda n: "a1b2" * (n // 4),
        lambda n: random.Random(1).randbytes(n // 2).hex(),
        lambda n: "1,2,3,4," * (n // 8),
        lambda n: "\u6771\u4eac\u90fd\u65e5\u672c" * (n // 5),
        lambda n: "x" + " " * n + "x",
        lambda n: "> " * (n // 2),
    ],
    ids=["word", "hex", "commas", "han", "blanks", "quotes"],
)
def test_time_grows_with_the_text_and_no_faster(make, kind):
    """Eight times the text takes about eight times as long; a square would be sixty-four."""
    cuts = chunker(TOKENIZERS[kind], 64)

    def seconds(characters: int) -> float:
        start = time.process_time()
        cuts.chunk(make(characters))
        return time.process_time() - start

    small = max(min(seconds(5_000) for _ in range(2)), 0.01)

    assert seconds(40_000) < 30 * small


@pytest.mark.parametrize("max_tokens", [-1, 0, 15])
def test_a_chunk_that_is_too_small_is_refused(max_tokens):
    with pytest.raises(ValueError, match="16 at least"):
        chunker(None, max_tokens)


def test_the_fingerprint_tells_how_texts_are_cut():
    told = {
        cutting(None).fingerprint,
        cutting(byte_tokenizer()).fingerprint,
        cutting(None, 512).fingerprint,
        cutting(None, 1024, 0).fingerprint,
    }

    assert len(told) == 4
    assert cutting(None, 64, 16).fingerprint == cutting(None, 64, 100).fingerprint


@pytest.mark.model
@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "Der Stein ist größer, älter und schöner: Müller fand ihn am 3. März 1987 bei Füssen.",
        "\u6771\u4eac\u90fd\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002",
        "\u041c\u0443\u0437\u0435\u0439 \u043e\u0442\u043a\u0440\u044b\u0442 \u0432\u0441\u0435.",
        "for (int i = 0; i < rows.length; i++) { total += rows[i].price * 1.19; }",
        "id: 4711; name: quartz; price: 12.50; found: 1987-03-14; SKU: QZ-0042-B",
        base64.b64encode(random.Random(1).randbytes(300)).decode(),
        random.Random(2).randbytes(150).hex(),
        "SHOUTING IN CAPITALS ABOUT ROCKS AND MINERALS",
        FAMILY * 5,
    ],
    ids=[
        "prose",
        "german",
        "japanese",
        "russian",
        "code",
        "record",
        "base64",
        "hex",
        "caps",
        "emoji",
    ],
)
def test_tokens_are_guessed_rather_too_many(text):
    for model in (CHAT, EMBEDDING):
        real = Tokenizer.from_file(str(models_folder() / model / "hf" / "tokenizer.json"))
        assert guessed_tokens(text) + 2 >= counter(real)(text)
