"""Azure's names of analyzers that this index can honour, and how Lance is told of them."""

from collections.abc import Mapping
from typing import Any

_LANGUAGES = {
    "ar": "Arabic",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hu": "Hungarian",
    "it": "Italian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pt-Br": "Portuguese",
    "pt-Pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
}
_USUAL: Mapping[str, Any] = {
    "base_tokenizer": "icu",  # Unicode's word breaks, as Lucene's standard tokenizer has them
    "with_position": True,  # phrases
    "max_token_length": 255,
    "lower_case": True,
    "stem": False,
    "remove_stop_words": False,
    "ascii_folding": False,
}
STANDARD = "standard.lucene"
_ENGLISH_STOP_WORDS = [
    "a",
    "an",
    "and",
    "are",
    "as",
    "at",
    "be",
    "but",
    "by",
    "for",
    "if",
    "in",
    "into",
    "is",
    "it",
    "no",
    "not",
    "of",
    "on",
    "or",
    "such",
    "that",
    "the",
    "their",
    "then",
    "there",
    "these",
    "they",
    "this",
    "to",
    "was",
    "will",
    "with",
]

ANALYZERS: Mapping[str, Mapping[str, Any]] = {
    STANDARD: _USUAL,
    "standardasciifolding.lucene": {**_USUAL, "ascii_folding": True},
    "keyword": {**_USUAL, "base_tokenizer": "raw", "lower_case": False},
    "whitespace": {**_USUAL, "base_tokenizer": "whitespace", "lower_case": False},
    "en.lucene": {
        **_USUAL,
        "language": "English",
        "stem": True,
        "remove_stop_words": True,
        # said, as the tokenizer `icu` has no language and leaves out the stop words of all of them
        "custom_stop_words": _ENGLISH_STOP_WORDS,
    },
    **{
        f"{code}.lucene": {
            **_USUAL,
            "base_tokenizer": "simple",  # which takes the list of the language
            "language": language,
            "stem": True,
            "remove_stop_words": True,
        }
        for code, language in _LANGUAGES.items()
    },
}
"""Each name's options for an FTS index."""
