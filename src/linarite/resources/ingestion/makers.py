"""Whose the chunks in a target are: each bears the mark of its job.

Two servers may have jobs of the same names and be told of the same index. Their chunks would have
the same ids, and each run would undo what the other's did.
"""

import orjson

from linarite.indexing.failures import IngestionFailed
from linarite.indexing.targets.target import Stored
from linarite.resources.ingestion.parts import Parts


def check_maker(parts: Parts, maker: str) -> None:
    """Raise IngestionFailed where the target holds another's chunks, or cannot be asked."""
    if is_anothers(parts, maker):
        raise IngestionFailed(
            f"The index ({parts.place}) holds the chunks of another job of the same names: "
            "another server's, or one that was deleted while the index could not be reached. "
            "Use another job id or another index, or delete that index if nobody needs it."
        )


def is_anothers(parts: Parts, maker: str) -> bool:
    """Whether the first chunk that the target tells of bears another mark than `maker`.

    Raises:
        IngestionFailed: the target cannot be asked.
    """
    if parts.is_own:
        return False
    return any(maker_of(first) not in {None, maker} for first in parts.target.stored(1))


def maker_of(chunk: Stored) -> str | None:
    """The mark that a chunk bears; None where it has none that can be read."""
    try:
        found = orjson.loads(chunk.meta_json_string)["maker"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return str(found)
