"""Models as they travel: the model, what it can do, when it ends."""

from enum import StrEnum
from typing import Literal

from linarite.wire.shapes import Outgoing, TypeDiscriminator, UnixTime


class FineTuningState(StrEnum):
    """The state of a tuning job and of a model; `CREATED` is never returned."""

    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"


class LifeCycleStatus(StrEnum):
    """How settled a model is; preview may become generally available, never back."""

    PREVIEW = "preview"
    GENERALLY_AVAILABLE = "generally-available"


class Capabilities(Outgoing):
    """What a model can be used for."""

    fine_tune: bool
    inference: bool
    completion: bool
    chat_completion: bool
    embeddings: bool


class Deprecation(Outgoing):
    """When tuning and inference of a model end."""

    fine_tune: UnixTime | None = None
    inference: UnixTime


class Model(Outgoing):
    """A base or tuned model.

    `model` and `fine_tune` (its base, its job) are null on a base model; `created` and `owned_by`
    are additions that official clients read.
    """

    object: Literal[TypeDiscriminator.MODEL] = TypeDiscriminator.MODEL
    id: str
    created_at: UnixTime
    status: FineTuningState
    model: str | None = None
    fine_tune: str | None = None
    capabilities: Capabilities
    lifecycle_status: LifeCycleStatus
    deprecation: Deprecation
    created: UnixTime
    owned_by: str


class ModelList(Outgoing):
    """All models."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[Model]
