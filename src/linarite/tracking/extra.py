"""The optional part of the installation that Weights & Biases needs."""

from importlib.util import find_spec

EXTRA = "linarite[wandb]"


def is_installed() -> bool:
    """Whether it is there; cheap, and loads nothing."""
    return find_spec("wandb") is not None
