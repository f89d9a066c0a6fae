"""The optional part of the installation that the embedded engine needs."""

from importlib.util import find_spec

from linarite.engines.refusals import ExtraMissing


def is_installed() -> bool:
    """Whether it is there; cheap, and loads nothing."""
    return find_spec("openvino_genai") is not None


def require() -> None:
    """Go on where it is there.

    Raises:
        ExtraMissing: it is not; says how to get it.
    """
    if not is_installed():
        raise ExtraMissing(
            "The embedded engine and its models are not part of this installation: "
            "pip install 'linarite[local]'."
        )
