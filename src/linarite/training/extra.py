"""The optional part of the installation that training needs."""

from importlib.util import find_spec

MESSAGE = "Training is not part of this installation: pip install 'linarite[train]'."
_PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers")


def is_installed() -> bool:
    """Whether it is there; cheap, and loads nothing."""
    return all(find_spec(package) is not None for package in _PACKAGES)
