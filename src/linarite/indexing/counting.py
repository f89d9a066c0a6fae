"""How many tokens a model makes of a text, counted often and quickly."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

_GUESSED = re.compile(r"(?<![0-9])[a-z]{1,3}|\n|\S")
_WORD = re.compile(r"[^ \t\n\r]+")
"""What these four part is apart for BERT's tokenizers, too, whatever their settings are."""
_WORD_CHARACTERS = 40
_KEPT_WORDS = 50_000


def guessed_tokens(text: str) -> int:
    """No fewer tokens than common models make of a text, where none is at hand to ask.

    Three small letters make one, every other sign of ASCII one by itself; every other character
    nearly as many as it has bytes, more than which no tokenizer of bytes makes of it. English prose
    has in truth about two thirds of that.
    """
    beyond = len(text.encode("utf-8", "replace")) - len(text)
    return len(_GUESSED.findall(text)) + (beyond * 2 + 2) // 3


class TokenCounter:
    """Counts as a tokenizer does, its special tokens included; for one thread.

    BERT's tokenizers, which most embedding models have, look at each word by itself: so it is
    enough to ask once for each word, and a text is counted twenty times as quickly.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._words = _Words(tokenizer) if _is_by_words(tokenizer) else None

    def count(self, text: str) -> int:
        """The tokens of a text."""
        if self._words is None:
            return self._special + _tokens(self._tokenizer, text)
        return self._special + sum(map(self._words.__getitem__, _WORD.findall(text)))


class _Words(dict[str, int]):
    """The tokens of words, each asked for when it is first met."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __missing__(self, word: str) -> int:
        tokens = _tokens(self._tokenizer, word)
        if len(word) <= _WORD_CHARACTERS:
            if len(self) >= _KEPT_WORDS:
                self.clear()
            self[word] = tokens
        return tokens


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    # A batch, even of one, lets other threads run meanwhile.
    [encoding] = tokenizer.encode_batch_fast([text], add_special_tokens=False)
    return len(encoding)


def _is_by_words(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its words, however these are strung together."""
    made_of: Mapping[str, Any] = json.loads(tokenizer.to_str())
    kinds = {(made_of[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")}
    added = (token["content"] for token in made_of["added_tokens"])
    return (
        kinds <= {None, "BertNormalizer", "BertPreTokenizer"}
        and "BertPreTokenizer" in kinds
        and all(_WORD.fullmatch(token) for token in added)
    )
