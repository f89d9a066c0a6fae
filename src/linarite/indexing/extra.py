"""The optional part of the installation that ingestion needs."""

from importlib.util import find_spec

MESSAGE = "Ingestion is not part of this installation: pip install 'linarite[ingest]'."
_PACKAGES = ("lancedb", "pymongo", "pinecone", "semantic_text_splitter", "tokenizers", "xberg")


def is_installed() -> bool:
    """Whether it is there; cheap, and loads nothing."""
    return all(find_spec(package) is not None for package in _PACKAGES)
