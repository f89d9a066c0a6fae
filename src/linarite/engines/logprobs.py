"""Log-probabilities as OpenAI's two forms tell them: by token, with its text and its bytes.

A token that is a piece of a letter has no text of its own: its bytes are written as ``\\xe2``.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

Spoken = tuple[int, float]
"""A token that was chosen, and its log-probability in the model's own distribution, in nats."""


class TokenTexts:
    """What each token of a model writes.

    Args:
        tokenizer: the model's.
        words: the bytes behind each token id, empty for those that write nothing; None where the
            tokenizer does not tell.
    """

    def __init__(self, tokenizer: Tokenizer, words: Sequence[bytes] | None) -> None:
        self._tokenizer = tokenizer
        self._words = words

    def bytes_of(self, token: int) -> bytes | None:
        """What it writes, or None where it writes nothing or nobody knows."""
        if self._words is not None:
            return (self._words[token] if token < len(self._words) else b"") or None
        text = self._tokenizer.decode([token])
        is_whole = bool(text) and "\N{REPLACEMENT CHARACTER}" not in text
        return text.encode() if is_whole else None

    def text_of(self, token: int) -> str:
        """What it writes as text, or its name where it writes nothing."""
        written = self.bytes_of(token)
        if written is None:
            return self._tokenizer.id_to_token(token) or ""
        return written.decode("utf-8", "backslashreplace")

    def of_chat(self, spoken: Sequence[Spoken]) -> dict[str, Any]:
        """The ``logprobs`` of a chat's choice or of a piece of it."""
        content = [
            {
                "token": self.text_of(token),
                "logprob": logprob,
                "bytes": None if (written := self.bytes_of(token)) is None else list(written),
                "top_logprobs": [],
            }
            for token, logprob in spoken
        ]
        return {"content": content, "refusal": None}

    def of_completion(self, spoken: Sequence[Spoken], offset: int) -> dict[str, Any]:
        """The ``logprobs`` of a completion's choice or of a piece of it that begins at `offset`."""
        tokens, offsets = [], []
        before = b""
        for token, _ in spoken:
            written = self.bytes_of(token)
            text = self.text_of(token)
            is_piece = written is not None and text != written.decode("utf-8", "replace")
            tokens.append(f"bytes:{text}" if is_piece else text)
            offsets.append(offset + len(before.decode("utf-8", "ignore")))
            before += written or b""
        return {
            "tokens": tokens,
            "token_logprobs": [logprob for _, logprob in spoken],
            "top_logprobs": None,
            "text_offset": offsets,
        }
