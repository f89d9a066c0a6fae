"""What an embedding model has to offer."""

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """A model that gives vectors; one for a run, used by one thread at a time."""

    @property
    def name(self) -> str:
        """Tells the model apart from every other, in keys of caches and in fingerprints."""

    @property
    def tokenizer(self) -> str | None:
        """The model's own, as JSON of `tokenizers`; None where it is not known here."""

    @property
    def max_tokens(self) -> int | None:
        """The longest input, with special tokens; None where it is not known."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The vectors of `texts`, in their order, all of one length.

        Batches by count and tokens, and waits out a busy endpoint within bounds.

        Raises:
            DocumentFailed: the model refuses a text for what it is, as one that is too long.
            IngestionFailed: the model refuses, or is away (TryLater).
        """
