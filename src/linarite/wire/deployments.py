"""Deployments as they travel: the data plane's form (2022-12-01) and Azure Resource Manager's.

Both describe the same rows. The data plane's lists and errors look like all others; ARM writes
camelCase, wraps a resource in `properties` and pages by `nextLink`.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from linarite.wire.errors import Error
from linarite.wire.shapes import Incoming, Int32, Int64, NonEmptyStr, Outgoing, UnixTime

DeploymentName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Capacity = Annotated[Int32, Field(ge=1)]
TokenLimit = Annotated[Int64, Field(ge=1)]
RateLimit = Annotated[Int64, Field(ge=1)]
SkuName = Annotated[str, Field(min_length=1, max_length=64)]
ShortText = Annotated[str, Field(max_length=256)]
Tags = Annotated[
    dict[Annotated[str, Field(max_length=512)], ShortText],
    Field(max_length=50),
]
"""A resource's tags, with Azure's bounds."""


class State(StrEnum):
    """The state of a deployment on the data plane."""

    NOT_RUNNING = "notRunning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    FAILED = "failed"
    DELETED = "deleted"


class ScaleType(StrEnum):
    """Whether the caller or the service says how much capacity there is."""

    MANUAL = "manual"
    STANDARD = "standard"


class ScaleSettings(Incoming):
    """How a deployment scales; kept and answered, engines scale by themselves."""

    scale_type: Annotated[ScaleType, Field(strict=False)]
    capacity: Capacity | None = None


class DeploymentCreation(Incoming):
    """Body of a deployment's creation; the chosen name `id` is an addition, else one is made."""

    id: DeploymentName | None = None
    model: NonEmptyStr
    scale_settings: ScaleSettings = ScaleSettings(scale_type=ScaleType.STANDARD)
    enqueued_token_limit: TokenLimit | None = None
    requests_per_minute: RateLimit | None = None
    tokens_per_minute: RateLimit | None = None
    deterministic: bool = False


class DeploymentUpdate(Incoming):
    """Merge patch of a deployment; what is null or absent stays as it is.

    But for the rate limits: null takes one away.
    """

    model: NonEmptyStr | None = None
    scale_settings: ScaleSettings | None = None
    enqueued_token_limit: TokenLimit | None = None
    requests_per_minute: RateLimit | None = None
    tokens_per_minute: RateLimit | None = None
    deterministic: bool | None = None


class Deployment(Outgoing):
    """A deployment on the data plane; `error` is null unless it failed.

    Additions: `enqueued_token_limit`, how many tokens batches may have waiting for it; the rate
    limits, null for none; `deterministic`, whether it answers one request at a time.
    """

    object: Literal["deployment"] = "deployment"
    id: str
    model: str
    scale_settings: ScaleSettings
    owner: str = "organization-owner"
    enqueued_token_limit: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    deterministic: bool
    status: State
    created_at: UnixTime
    updated_at: UnixTime
    error: Error | None = None


class DeploymentList(Outgoing):
    """All deployments of a resource."""

    object: Literal["list"] = "list"
    data: list[Deployment]


class ArmIncoming(Incoming):
    """What a caller sends to Azure Resource Manager."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class ArmOutgoing(Outgoing):
    """What Azure Resource Manager answers; what a resource does not have is left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )

    def to_json(self) -> bytes:
        """The object as compact UTF-8 JSON, without nulls."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class ArmSku(ArmIncoming):
    """The price tier: kept and answered."""

    name: SkuName
    capacity: Capacity | None = None


class ArmModel(ArmIncoming):
    """The model that is deployed; a tuned one is named as its job named it."""

    format: ShortText = "OpenAI"
    name: NonEmptyStr
    version: ShortText | None = None


class ArmDeploymentRequestProperties(ArmIncoming):
    """What a deployment is asked to be."""

    model: ArmModel
    rai_policy_name: ShortText | None = None
    version_upgrade_option: ShortText | None = None


class ArmDeploymentRequest(ArmIncoming):
    """Body of a deployment's creation or replacement."""

    sku: ArmSku = ArmSku(name="Standard", capacity=1)
    tags: Tags | None = None
    properties: ArmDeploymentRequestProperties


class ArmDeploymentPatch(ArmIncoming):
    """Body of a deployment's update; only its price tier and its tags can change."""

    sku: ArmSku | None = None
    tags: Tags | None = None


class ProvisioningState(StrEnum):
    """The state of a deployment in Azure Resource Manager."""

    ACCEPTED = "Accepted"
    CREATING = "Creating"
    DELETING = "Deleting"
    MOVING = "Moving"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


class ArmThrottlingRule(ArmOutgoing):
    """How many requests or tokens there may be in so many seconds."""

    key: Literal["request", "token"]
    renewal_period: int = 60
    count: int


class ArmDeploymentProperties(ArmOutgoing):
    """What a deployment is; the values of `capabilities` are strings such as ``"true"``."""

    model: ArmModel
    capabilities: dict[str, str]
    provisioning_state: ProvisioningState
    rai_policy_name: str | None = None
    version_upgrade_option: str | None = None
    rate_limits: list[ArmThrottlingRule] | None = None


class ArmDeployment(ArmOutgoing):
    """A deployment in Azure Resource Manager; `id` is its path."""

    id: str
    name: str
    type: Literal["Microsoft.CognitiveServices/accounts/deployments"] = (
        "Microsoft.CognitiveServices/accounts/deployments"
    )
    sku: ArmSku
    tags: dict[str, str] | None = None
    properties: ArmDeploymentProperties


class ArmDeploymentList(ArmOutgoing):
    """All deployments of a resource."""

    value: list[ArmDeployment]
    next_link: str | None = None


class ArmAccountProperties(ArmOutgoing):
    """Where an account is reached."""

    endpoint: str
    provisioning_state: ProvisioningState = ProvisioningState.SUCCEEDED


class ArmAccount(ArmOutgoing):
    """The account that a path names: this server, as the caller's key sees it."""

    id: str
    name: str
    type: Literal["Microsoft.CognitiveServices/accounts"] = "Microsoft.CognitiveServices/accounts"
    kind: Literal["OpenAI"] = "OpenAI"
    location: str
    sku: ArmSku = ArmSku(name="S0")
    properties: ArmAccountProperties
