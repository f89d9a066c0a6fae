"""Tuning jobs as they travel: the job and its creation, its events, its checkpoints."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from linarite.wire.models import FineTuningState
from linarite.wire.shapes import (
    Incoming,
    Int32,
    NonEmptyStr,
    Outgoing,
    TypeDiscriminator,
    UnixTime,
)

AUTO = -1
"""How the wire says that the service shall choose; OpenAI's word for it, ``"auto"``, is taken."""


class FineTuningMethodType(StrEnum):
    """How a model learns: from examples, or from preferences between two answers."""

    DPO = "dpo"
    SUPERVISED = "supervised"


class EventType(StrEnum):
    """What an event is about: `METRICS` ones tell a step in their data."""

    MESSAGE = "message"
    METRICS = "metrics"


class LogLevel(StrEnum):
    """How much an event matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class IntegrationTypes(StrEnum):
    """The services that can follow a job."""

    WANDB = "wandb"


def _auto_as_number(value: Any) -> Any:
    return AUTO if isinstance(value, str) and value == "auto" else value


Count = Annotated[Int32, BeforeValidator(_auto_as_number)]
Factor = Annotated[float, BeforeValidator(_auto_as_number)]


class FineTuningHyperParameters(Incoming):
    """How a job learns; `AUTO` until the service has chosen. Asked and answered."""

    n_epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate_multiplier: Factor | None = None


class DpoHyperparamsRequest(Incoming):
    """The same for preferences, with what only they have. Asked and answered."""

    n_epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate_multiplier: Factor | None = None
    beta: Factor | None = None
    l2_multiplier: Factor | None = None


class DpoMethodConfigRequest(Incoming):
    """What a DPO method brings. Asked and answered."""

    hyperparameters: DpoHyperparamsRequest | None = None


class SupervisedMethodConfig(Incoming):
    """What newer clients send with the supervised method; not in the contract."""

    hyperparameters: FineTuningHyperParameters | None = None


class _MethodRequest(Incoming):
    """A method by `kind`, as the contract says, or by `type`, as clients do; or by both."""

    @model_validator(mode="before")
    @classmethod
    def _either_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        named = {key: value[key] for key in ("kind", "type") if key in value}
        if len(named) != 1:
            return value
        [name] = named.values()
        return {**value, "kind": name, "type": name}


class SupervisedMethodRequest(_MethodRequest):
    """Learning from examples."""

    kind: Literal["supervised"]
    type: Literal["supervised"]
    supervised: SupervisedMethodConfig | None = None


class DpoMethodRequest(_MethodRequest):
    """Learning from preferences."""

    kind: Literal["dpo"]
    type: Literal["dpo"]
    dpo: DpoMethodConfigRequest


def _method_named(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("kind", value.get("type"))
    return getattr(value, "kind", None)


MethodRequest = Annotated[
    Annotated[SupervisedMethodRequest, Tag("supervised")] | Annotated[DpoMethodRequest, Tag("dpo")],
    Discriminator(
        _method_named,
        custom_error_type="method",
        custom_error_message="`type` must be supervised or dpo",
    ),
]


class WandBIntegrationRequest(Incoming):
    """Where Weights & Biases shows the job. Asked and answered."""

    project: NonEmptyStr
    name: str | None = None
    entity: str | None = None
    tags: list[str] | None = None


class WandBIntegrationRequestWrapper(Incoming):
    """One service that follows a job. Asked and answered."""

    type: Annotated[IntegrationTypes, Field(strict=False)]
    wandb: WandBIntegrationRequest


class FineTuningJobCreation(Incoming):
    """Body of FineTuning_Create."""

    model: NonEmptyStr
    training_file: NonEmptyStr
    validation_file: str | None = None
    hyperparameters: FineTuningHyperParameters | None = None
    suffix: str | None = None
    seed: Int32 | None = None
    integrations: list[WandBIntegrationRequestWrapper] | None = None
    method: MethodRequest | None = None


class SupervisedMethod(Outgoing):
    """Learning from examples; `type` and `kind` say the same."""

    kind: Literal["supervised"] = "supervised"
    type: Literal["supervised"] = "supervised"


class DpoMethod(Outgoing):
    """Learning from preferences; `type` and `kind` say the same."""

    kind: Literal["dpo"] = "dpo"
    type: Literal["dpo"] = "dpo"
    dpo: DpoMethodConfigRequest


Method = Annotated[SupervisedMethod | DpoMethod, Field(discriminator="kind")]


class FineTuningJobError(Outgoing):
    """Why a job failed; `param` names the part of the request that is at fault, if one is."""

    code: str
    message: str
    param: str | None = None


class FineTuningJob(Outgoing):
    """A tuning job; `organization_id` is what clients read for the contract's spelling."""

    object: Literal[TypeDiscriminator.FINE_TUNING_JOB] = TypeDiscriminator.FINE_TUNING_JOB
    id: str
    created_at: UnixTime
    status: FineTuningState
    model: NonEmptyStr
    fine_tuned_model: str | None = None
    training_file: NonEmptyStr
    validation_file: str | None = None
    result_files: list[str] | None = None
    finished_at: Int32 | None = None
    organisation_id: str | None = None
    organization_id: str | None = None
    trained_tokens: Int32 | None = None
    error: FineTuningJobError | None = None
    estimated_finish: Int32 | None = None
    hyperparameters: FineTuningHyperParameters
    suffix: str | None = None
    seed: Int32
    integrations: list[WandBIntegrationRequestWrapper] | None = None
    method: Method


class FineTuningJobList(Outgoing):
    """A page of jobs."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[FineTuningJob]
    has_more: bool = False


class FineTuningJobEvent(Outgoing):
    """Something that happened in a job; `data` is null for messages, the step's for metrics."""

    object: Literal[TypeDiscriminator.FINE_TUNING_JOB_EVENT] = (
        TypeDiscriminator.FINE_TUNING_JOB_EVENT
    )
    id: str
    created_at: UnixTime
    level: LogLevel
    message: NonEmptyStr
    type: EventType
    data: Any = None


class FineTuningJobEventList(Outgoing):
    """A page of events."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[FineTuningJobEvent]
    has_more: bool = False


class FineTuningJobCheckpoint(Outgoing):
    """The model as it was at the end of an epoch."""

    object: Literal[TypeDiscriminator.FINE_TUNING_JOB_CHECKPOINT] = (
        TypeDiscriminator.FINE_TUNING_JOB_CHECKPOINT
    )
    id: str
    created_at: UnixTime
    fine_tuned_model_checkpoint: NonEmptyStr
    step_number: Int32
    metrics: dict[str, float]
    fine_tuning_job_id: NonEmptyStr


class FineTuningJobCheckpointList(Outgoing):
    """A page of checkpoints."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[FineTuningJobCheckpoint]
    has_more: bool = False
