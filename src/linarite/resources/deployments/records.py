"""A deployment as a row: a name that requests use, and the model behind it."""

from dataclasses import dataclass, field
from typing import Any

from linarite.resources.models.records import EVERYONE, ModelRecord

MINUTE = 60


@dataclass(frozen=True)
class DeploymentRecord:
    """One row of `deployments`."""

    id: str
    resource: str
    """Whose it is, or `EVERYONE`: seen by all, changed by none."""
    model: str
    """Id of the model behind it, never an alias."""
    enqueued_token_limit: int
    created_at: int
    updated_at: int
    sku: str = "Standard"
    scale_type: str = "standard"
    capacity: int = 1
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    deterministic: bool = False
    """Whether it answers one request at a time."""
    arm: dict[str, Any] = field(default_factory=dict)
    """What only Azure Resource Manager's form has, by its names there."""

    @property
    def is_declared(self) -> bool:
        """Whether the operator deployed it, in the settings or by installing its model."""
        return self.resource == EVERYONE

    @property
    def is_limited(self) -> bool:
        """Whether there is a bound to what it is asked for in a minute."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


@dataclass(frozen=True)
class RateWindow:
    """The minute that a deployment is in, and what it was asked for in it."""

    began_at: int
    requests: int
    tokens: int

    def is_over(self, now: int) -> bool:
        """Whether another minute has begun; one that a clock put into the future never was."""
        return abs(now - self.began_at) >= MINUTE

    def seconds_left(self, now: int) -> int:
        """How long it still lasts; at least a second."""
        return min(max(self.began_at + MINUTE - now, 1), MINUTE)


@dataclass(frozen=True)
class Deployed:
    """A deployment together with its model; None when that is not there any more."""

    record: DeploymentRecord
    model: ModelRecord | None


@dataclass(frozen=True)
class Target:
    """Where a request goes: a deployment that can answer, and the model that does."""

    deployment: DeploymentRecord
    model: ModelRecord

    @property
    def enqueued_token_limit(self) -> int:
        """How many tokens the batches of all resources may have waiting for it together."""
        return self.deployment.enqueued_token_limit
