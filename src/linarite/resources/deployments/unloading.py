"""What follows when the last deployment of a model is gone: its upstream may unload it."""

from fastapi import Request
from starlette.background import BackgroundTask

from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace
from linarite.resources.models.records import ModelRecord


def unloading(request: Request, model: ModelRecord | None) -> BackgroundTask | None:
    """What is to be done once the answer is sent, as `model` is served no more.

    Args:
        request: whose answer it is.
        model: as `Deployments.delete` gave it.
    """
    if model is None or model.base is None:
        return None
    engines: Engines = request.app.state.engines
    place = ModelPlace(model.id, model.path, model.upstream, model.tokenizer)
    return BackgroundTask(engines.forget, place)
