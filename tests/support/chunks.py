"""Chunks as the pipeline hands them to a target."""

from typing import Any

from linarite.indexing.targets.target import Chunk

_PARENT = "0123456789abcdef" * 2


def a_chunk(place: int, **changes: Any) -> Chunk:
    """The chunk at `place` of a small document, with a vector of three numbers."""
    usual: dict[str, Any] = {
        "id": f"{_PARENT}-{place}",
        "parent_id": _PARENT,
        "content": f"the text of chunk {place}",
        "title": "Handbook",
        "filepath": "handbook.md",
        "url": "https://example.org/handbook.md",
        "chunk_id": str(place),
        "last_updated": "2026-01-02T03:04:05Z",
        "meta_json_string": "{}",
        "vector": [0.1, 0.2, 0.3],
    }
    return Chunk(**usual | changes)
