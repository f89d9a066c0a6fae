"""What the engines' room refuses outside of a request.

    InvalidPayload
    └── UnusableModel           400  a model that the embedded engine cannot serve
    ServiceUnavailable
    ├── EngineFailure           503  an engine cannot answer now
    │   └── EngineUnreachable   503  it does not run, or died while it answered
    ├── ModelMissing            503  a model whose files are not on this machine
    ├── DownloadFailed          503  a pinned package could not be fetched
    └── ExtraMissing            503  an optional part of the installation is absent

What a single request is refused for is `InferenceRefused`, in OpenAI's own shape.
"""

from linarite.errors import InvalidPayload, ServiceUnavailable

UPSTREAM_HINT = (
    "Serve it with an engine of its own instead (`vllm serve …`, `llama-server …`) and name its "
    "address: `upstream = { base_url = … }` under [[models]]."
)


class EngineFailure(ServiceUnavailable):
    """The engine of this model cannot answer now; wait and try again."""


class EngineUnreachable(EngineFailure):
    """The engine of this model does not run or ended while it answered; try again."""


class UnusableModel(InvalidPayload):
    """The embedded engine cannot serve this model."""


class ModelMissing(ServiceUnavailable):
    """The files of this model are not on this machine."""


class DownloadFailed(ServiceUnavailable):
    """A pinned package could not be fetched."""


class ExtraMissing(ServiceUnavailable):
    """An optional part of the installation is absent."""
