"""The contract's operations on models."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from linarite.http.answers import answer
from linarite.http.auth import Resource
from linarite.http.wiring import part
from linarite.resources.models.records import NEVER
from linarite.resources.models.service import Listing, Models
from linarite.wire.models import (
    Capabilities,
    Deprecation,
    LifeCycleStatus,
    Model,
    ModelList,
)

router = APIRouter()

ModelsPart = Annotated[Models, Depends(part(Models))]


@router.get("/models", name="Models_List")
def list_models(models: ModelsPart, resource: Resource) -> Response:
    """List the models that the caller can use, and the other names they go by."""
    return answer(ModelList(data=[_to_wire(listing) for listing in models.list(resource)]))


@router.get("/models/{model_id:path}", name="Models_Get")
def get_model(models: ModelsPart, resource: Resource, model_id: str) -> Response:
    """Tell what one model can be used for."""
    return answer(_to_wire(models.get(resource, model_id)))


def _to_wire(listing: Listing) -> Model:
    model = listing.model
    able = model.able
    # Tuning goes on from a tuned model too, but the service says that it does not.
    is_for_tuning = able.fine_tune and model.tunable and model.base is None
    return Model(
        id=listing.id,
        created_at=model.created_at,
        created=model.created_at,
        owned_by="linarite" if model.upstream is None else "upstream",
        status=model.status,
        model=model.base if listing.id == model.id else model.id,
        fine_tune=model.fine_tune,
        capabilities=Capabilities(
            fine_tune=is_for_tuning,
            inference=True,
            completion=able.completion,
            chat_completion=able.chat,
            embeddings=able.embeddings,
        ),
        lifecycle_status=LifeCycleStatus.GENERALLY_AVAILABLE,
        deprecation=Deprecation(fine_tune=NEVER if is_for_tuning else None, inference=NEVER),
    )
