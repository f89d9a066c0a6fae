"""What the pipeline's prefix cache knows of prompts, as far as one can tell from outside.

The cache is looked at when an answer begins, and holds what answers before it have read: those
that begin together find nothing of each other. Told apart are blocks of tokens, each with all that
stands before it.
"""

from collections.abc import Iterable, Sequence

_BLOCK_TOKENS = 32
_MOST_BLOCKS = 65_536

Blocks = tuple[int, ...]
"""One number for each whole block of a prompt, equal where all tokens up to its end are."""


def blocks_of(prompt: Sequence[int]) -> Blocks:
    """The blocks of a prompt; its last token is computed anew in any case."""
    blocks, before = [], 0
    for start in range(0, len(prompt) - _BLOCK_TOKENS, _BLOCK_TOKENS):
        before = hash((before, *prompt[start : start + _BLOCK_TOKENS]))
        blocks.append(before)
    return tuple(blocks)


class Prefixes:
    """The blocks that have been read, the latest of them."""

    def __init__(self) -> None:
        self._read: dict[int, None] = {}

    def note_read(self, blocks: Blocks) -> None:
        """Note that a prompt was read to its end."""
        for block in blocks:
            self._read.pop(block, None)
            self._read[block] = None
        while len(self._read) > _MOST_BLOCKS:
            del self._read[next(iter(self._read))]

    def is_worth_waiting(self, blocks: Blocks, being_read: Iterable[Blocks]) -> bool:
        """Whether what comes next of a prompt is what another is reading just now."""
        following = next((block for block in blocks if block not in self._read), None)
        return following is not None and any(following in others for others in being_read)
