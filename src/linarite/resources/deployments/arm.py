"""Managing deployments as Azure's own tools do, by Azure Resource Manager's paths and forms.

The subscription, group and account of a path may be anything: the key says whose deployments they
are. A deployment is ready at once, so that the tools' pollers end with the first answer.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from linarite.errors import NotFound
from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import json_body
from linarite.http.links import root
from linarite.http.wiring import part
from linarite.resources.deployments.records import Deployed, DeploymentRecord
from linarite.resources.deployments.service import Deployments
from linarite.resources.deployments.unloading import unloading
from linarite.resources.models.records import ModelRecord
from linarite.settings import Settings
from linarite.wire.deployments import (
    ArmAccount,
    ArmAccountProperties,
    ArmDeployment,
    ArmDeploymentList,
    ArmDeploymentPatch,
    ArmDeploymentProperties,
    ArmDeploymentRequest,
    ArmModel,
    ArmSku,
    ArmThrottlingRule,
    DeploymentName,
    ProvisioningState,
)

router = APIRouter()

DeploymentsPart = Annotated[Deployments, Depends(part(Deployments))]
SettingsPart = Annotated[Settings, Depends(part(Settings))]

ACCOUNT = (
    "/subscriptions/{subscription_id}/resourceGroups/{resource_group}"
    "/providers/Microsoft.CognitiveServices/accounts/{account}"
)


@router.get(ACCOUNT, name="Accounts_Get")
def get_account(request: Request, settings: SettingsPart, account: str) -> Response:
    """Tell where the account is reached; whatever it is called, it is this server."""
    return answer(
        ArmAccount(
            id=_account(request),
            name=account,
            location=settings.server.region,
            properties=ArmAccountProperties(endpoint=f"{root(request)}/"),
        )
    )


@router.get(ACCOUNT + "/deployments", name="ArmDeployments_List")
def list_deployments(
    request: Request, deployments: DeploymentsPart, resource: Resource
) -> Response:
    """List what the caller can use."""
    found = deployments.list(resource)
    return answer(ArmDeploymentList(value=[_to_wire(request, one) for one in found]))


@router.get(ACCOUNT + "/deployments/{name}", name="ArmDeployments_Get")
def get_deployment(
    request: Request, deployments: DeploymentsPart, resource: Resource, name: str
) -> Response:
    """Tell about one deployment."""
    return answer(_to_wire(request, deployments.get(resource, name)))


@router.put(ACCOUNT + "/deployments/{name}", name="ArmDeployments_CreateOrUpdate")
def put_deployment(
    request: Request,
    deployments: DeploymentsPart,
    resource: Resource,
    name: DeploymentName,
    body: Annotated[ArmDeploymentRequest, json_body(ArmDeploymentRequest)],
) -> Response:
    """Deploy a model, or change what is deployed: 201 when it is new, else 200."""
    deployed, is_new = deployments.put(resource, name, body)
    return answer(_to_wire(request, deployed), 201 if is_new else 200)


@router.patch(ACCOUNT + "/deployments/{name}", name="ArmDeployments_Update")
def patch_deployment(
    request: Request,
    deployments: DeploymentsPart,
    resource: Resource,
    name: str,
    body: Annotated[ArmDeploymentPatch, json_body(ArmDeploymentPatch)],
) -> Response:
    """Change the price tier or the tags."""
    return answer(_to_wire(request, deployments.patch(resource, name, body)))


@router.delete(ACCOUNT + "/deployments/{name}", name="ArmDeployments_Delete")
def delete_deployment(
    request: Request, deployments: DeploymentsPart, resource: Resource, name: str
) -> Response:
    """Remove a deployment: 200, and 204 when there is none."""
    try:
        unserved = deployments.delete(resource, name)
    except NotFound:
        return Response(status_code=204)
    return Response(status_code=200, background=unloading(request, unserved))


def _account(request: Request) -> str:
    values = request.path_params
    return ACCOUNT.format(**{name: values[name] for name in values if name != "name"})


def _to_wire(request: Request, deployed: Deployed) -> ArmDeployment:
    record, arm = deployed.record, deployed.record.arm
    state = ProvisioningState.FAILED if deployed.model is None else ProvisioningState.SUCCEEDED
    return ArmDeployment(
        id=f"{_account(request)}/deployments/{record.id}",
        name=record.id,
        sku=ArmSku(name=record.sku, capacity=record.capacity),
        tags=arm.get("tags"),
        properties=ArmDeploymentProperties(
            model=ArmModel(
                format=arm.get("format") or "OpenAI",
                name=record.model,
                version=arm.get("version") or "1",
            ),
            capabilities=_able(deployed.model),
            provisioning_state=state,
            rai_policy_name=arm.get("raiPolicyName"),
            version_upgrade_option=arm.get("versionUpgradeOption"),
            rate_limits=_rate_limits(record) or None,
        ),
    )


def _rate_limits(record: DeploymentRecord) -> list[ArmThrottlingRule]:
    rules: list[ArmThrottlingRule] = []
    if record.requests_per_minute is not None:
        rules.append(ArmThrottlingRule(key="request", count=record.requests_per_minute))
    if record.tokens_per_minute is not None:
        rules.append(ArmThrottlingRule(key="token", count=record.tokens_per_minute))
    return rules


def _able(model: ModelRecord | None) -> dict[str, str]:
    if model is None:
        return {}
    able = model.able
    words = {
        "chatCompletion": able.chat,
        "completion": able.completion,
        "embeddings": able.embeddings,
    }
    return {word: "true" for word, is_so in words.items() if is_so}
