"""A deployment as a row: a name that requests use, and the model behind it."""

from dataclasses import dataclass, field
from typing import Any

from linarite.resources.models.records import EVERYONE, ModelRecord


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
