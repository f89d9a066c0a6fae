"""How many tokens texts are counted to have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from linarite.indexing.counting import TokenCounter


def bert(*, lowercase: bool) -> Tokenizer:
    words = ["[UNK]", "[CLS]", "[SEP]", "stone", "sto", "s", "##ne", "##s", ".", "e", "\u6771"]
    vocabulary = {word: at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    return tokenizer


def with_added_phrase() -> Tokenizer:
    """One whose tokens are not those of its words."""
    tokenizer = bert(lowercase=True)
    tokenizer.add_tokens(["stone stone"])
    return tokenizer


TOKENIZERS = {
    "uncased": bert(lowercase=True),
    "cased": bert(lowercase=False),
    "phrases": with_added_phrase(),
}
texts = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["stone", "STONES", "stone stone", "[MASK]", "\u6771\u4eac", "e\u0301"]),
        st.sampled_from(
            [" ", "\n", "\t", "\r", "\f", "\v", "\x1c", "\x85", "\xa0", "\u2028", "\0"]
        ),
        st.sampled_from(["\u0301", "\u200b", "\ufffd", ".", "s" * 120]),
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=3))
def test_texts_have_as_many_tokens_as_the_tokenizer_makes(kind, given_texts):
    tokenizer = TOKENIZERS[kind]
    counter = TokenCounter(tokenizer)

    for text in given_texts:
        assert counter.count(text) == len(tokenizer.encode(text))
