"""Managing deployments on the data plane, in the form of the 2022-12-01 authoring API."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.bodies import JSON, json_body
from linarite.http.links import link
from linarite.http.wiring import part
from linarite.resources.deployments.records import Deployed
from linarite.resources.deployments.service import Deployments
from linarite.resources.deployments.unloading import unloading
from linarite.wire.deployments import (
    Deployment,
    DeploymentCreation,
    DeploymentList,
    DeploymentUpdate,
    ScaleSettings,
    ScaleType,
    State,
)
from linarite.wire.errors import Error, ErrorCode

router = APIRouter()

DeploymentsPart = Annotated[Deployments, Depends(part(Deployments))]
_PATCHES = (*JSON, "application/merge-patch+json")


@router.get("/deployments", name="Deployments_List")
def list_deployments(deployments: DeploymentsPart, resource: Resource) -> Response:
    """List what the caller can use, oldest first."""
    found = deployments.list(resource)
    return answer(DeploymentList(data=[_to_wire(one) for one in found]))


@router.post("/deployments", name="Deployments_Create", status_code=201)
def create_deployment(
    request: Request,
    deployments: DeploymentsPart,
    resource: Resource,
    body: Annotated[DeploymentCreation, json_body(DeploymentCreation)],
) -> Response:
    """Deploy a model."""
    made = deployments.create(resource, body)
    location = link(request, f"/deployments/{made.record.id}")
    return answer(_to_wire(made), 201, {"Location": location})


@router.get("/deployments/{deployment_id}", name="Deployments_Get")
def get_deployment(
    deployments: DeploymentsPart, resource: Resource, deployment_id: str
) -> Response:
    """Tell about one deployment."""
    return answer(_to_wire(deployments.get(resource, deployment_id)))


@router.patch("/deployments/{deployment_id}", name="Deployments_Update")
def update_deployment(
    deployments: DeploymentsPart,
    resource: Resource,
    deployment_id: str,
    body: Annotated[DeploymentUpdate, json_body(DeploymentUpdate, _PATCHES)],
) -> Response:
    """Change what a deployment is; requests go to the new model from the next one on."""
    return answer(_to_wire(deployments.update(resource, deployment_id, body)))


@router.delete("/deployments/{deployment_id}", name="Deployments_Delete", status_code=204)
def delete_deployment(
    request: Request, deployments: DeploymentsPart, resource: Resource, deployment_id: str
) -> Response:
    """Remove a deployment."""
    unserved = deployments.delete(resource, deployment_id)
    return Response(status_code=204, background=unloading(request, unserved))


def _to_wire(deployed: Deployed) -> Deployment:
    record = deployed.record
    gone = None
    if deployed.model is None:
        message = f"The model {record.model!r} is not on this server any more."
        gone = Error(code=ErrorCode.SERVICE_UNAVAILABLE, message=message)
    return Deployment(
        id=record.id,
        model=record.model,
        scale_settings=ScaleSettings(
            scale_type=ScaleType(record.scale_type), capacity=record.capacity
        ),
        enqueued_token_limit=record.enqueued_token_limit,
        requests_per_minute=record.requests_per_minute,
        tokens_per_minute=record.tokens_per_minute,
        deterministic=record.deterministic,
        status=State.FAILED if gone else State.SUCCEEDED,
        created_at=record.created_at,
        updated_at=record.updated_at,
        error=gone,
    )
