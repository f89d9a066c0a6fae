"""A model as the server knows it: what it is called, where it lies, what it can do."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from linarite.engines.capabilities import Capabilities, capabilities
from linarite.settings import Upstream
from linarite.wire.models import FineTuningState

EVERYONE = "*"
"""The resource of what the operator brought or deployed: every caller sees it."""
NEVER = 4_102_444_800
"""The end of 2099: when a model ends that nobody means to end; the contract wants a time."""
UNDATED = 1_735_689_600
"""The start of 2025: when a model was made that does not say so, the same at every start."""


@dataclass(frozen=True)
class ModelRecord:
    """A base model on this machine or behind an address, or one that was tuned from it."""

    id: str
    kind: Literal["chat", "embedding"]
    path: Path | None = None
    """Folder of an embedded model; of a tuned one, the folder with its adapter; of a model behind
    an address that takes adapters, what tuning starts from."""
    upstream: Upstream | None = None
    """The server that answers for any other."""
    context_tokens: int | None = None
    """Tokens of prompt and answer together; None where the upstream does not tell."""
    tokenizer: Path | None = None
    """What counts its tokens, where it does not lie with the model."""
    tunable: bool = False
    """Whether training can start from it."""
    created_at: int = UNDATED
    base: str | None = None
    """Id of the model that this one was tuned from; None for a base model."""
    fine_tune: str | None = None
    """Id of the job that tuned it."""
    checkpoint: str | None = None
    """Id of the checkpoint that it is, by which it can be named too."""
    status: FineTuningState = FineTuningState.SUCCEEDED
    """The state of the job that tuned it."""

    @property
    def able(self) -> Capabilities:
        """What its engine can do."""
        able = capabilities(
            is_embedded=self.upstream is None, is_embedding=self.kind == "embedding"
        )
        if self.upstream is not None and self.upstream.adapters:
            return replace(able, fine_tune=able.chat)
        return able
