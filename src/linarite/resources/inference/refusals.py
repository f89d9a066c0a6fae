"""What an index or an endpoint elsewhere refuses, as chats tell it."""

from collections.abc import Iterator
from contextlib import contextmanager

from linarite.errors import InferenceRefused
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.resources.inference.answers import failure
from linarite.resources.inference.data_sources import NAME


@contextmanager
def refusals() -> Iterator[None]:
    """Refuse in OpenAI's shape what an index or an endpoint refuses."""
    try:
        yield
    except TryLater as error:
        after = {} if error.after_seconds is None else {"retry-after": f"{error.after_seconds:.0f}"}
        raise failure(str(error), headers=after) from error
    except (DocumentFailed, IngestionFailed) as error:
        raise InferenceRefused(str(error), param=NAME) from error
