"""The embedded indexes of a server: what routes, ingestion and chats do with them.

The store and its libraries take a second and 150 MB to load; that happens when the first index is
asked for, not before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from linarite.engines.refusals import ExtraMissing
from linarite.indexing import extra
from linarite.settings import LimitSettings

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

    from linarite.indexing.search.calls import SearchAnswer
    from linarite.indexing.search.searching import Hit
    from linarite.indexing.search.store import Store

_log = structlog.get_logger("linarite.search")

_READERS, _WRITERS = 16, 8
"""Threads of their own: writers wait for each other, and nothing else here is to wait with them."""
_MOST_WAITING = 64
"""More writers than these are told to come again, for each holds its documents in memory."""


class Indexes:
    """The indexes of all resources.

    Args:
        root: the folder that they lie in.
        limits: how many there may be, and how full the disk.

    Every method raises ExtraMissing where the installation has no ingestion.
    """

    def __init__(self, root: Path, limits: LimitSettings) -> None:
        self._root, self._limits = root, limits
        self._store: Store | None = None
        self._readers, self._writers = CapacityLimiter(_READERS), CapacityLimiter(_WRITERS)

    async def answer_in_thread(
        self, resource: str, method: str, path: str, **asked: Any
    ) -> "SearchAnswer":
        """The same as `answer`, which takes the same, without holding up the event loop."""
        writes = method != "GET" and not path.endswith("search")
        limiter = self._writers if writes else self._readers
        if writes and limiter.statistics().tasks_waiting >= _MOST_WAITING:
            from linarite.indexing.search.dialect import refusal
            from linarite.indexing.search.refusals import Busy

            return refusal(
                Busy("Too many writes wait already; try again later.", "ServiceUnavailable")
            )
        answering = partial(self.answer, resource, method, path, **asked)
        return await run_sync(answering, limiter=limiter)

    def answer(
        self,
        resource: str,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        base_url: str,
    ) -> "SearchAnswer":
        """What Azure AI Search's REST dialect answers to a request of `resource`."""
        store = self._opened()
        from linarite.indexing.search.calls import SearchCall
        from linarite.indexing.search.dialect import answer

        call = SearchCall(resource, "", method, path, parameters, headers, body, base_url)
        return answer(store, call)

    def maker(self, resource: str, index: str) -> str | None:
        """Who made the index of that name; empty: a caller; None: there is none. Loads nothing."""
        return self._kept(resource, index, "maker")

    def generation(self, resource: str, index: str) -> str | None:
        """What tells an index from an earlier one of that name; None: there is none."""
        return self._kept(resource, index, "generation")

    def transport(self, resource: str, maker: str) -> "RequestsTransport":
        """What Azure's own search clients take as `transport` to use the indexes in this process.

        Their endpoint is `indexing.search.in_process.ENDPOINT`, and any key will do.

        Args:
            resource: whose indexes they see.
            maker: in whose name they make and write, such as ``ingestion job handbook``; what it
                made callers of the API can read and search, and not change.
        """
        store = self._opened()
        from linarite.indexing.search.in_process import in_process_transport

        return in_process_transport(store, resource, maker)

    def search(
        self,
        resource: str,
        index: str,
        *,
        text: str | None = None,
        vector: Sequence[float] | None = None,
        vector_fields: Sequence[str] = (),
        filter: str | None = None,
        top: int = 5,
        fields: Sequence[str] = (),
    ) -> "Sequence[Hit]":
        """The documents of an index that fit best.

        Args:
            resource: whose index it is.
            index: its name.
            text: words to look for, as a person wrote them: no sign in it is an operator.
            vector: what `text` is embedded as; with both, their two lists are joined by ranks.
            vector_fields: which fields are compared with it; empty: all that hold vectors.
            filter: an OData filter.
            top: how many at most.
            fields: what is told of each; empty: all that can be told.

        Raises:
            SearchRefused: there is no such index, or it does not take what is asked.
        """
        store = self._opened()
        from linarite.indexing.search.query import SearchRequest, VectorQuery, query
        from linarite.indexing.search.searching import search
        from linarite.indexing.search.words import Leaf

        record = store.get(resource, index)
        compared = ",".join(vector_fields) or None
        vectors = [] if vector is None else [VectorQuery(vector=list(vector), fields=compared)]
        request = SearchRequest(
            filter=filter, top=top, select=",".join(fields) or None, vector_queries=vectors
        )
        asked = query(request, record.definition)
        if text is not None:
            asked = replace(asked, words=Leaf(text), is_for_all=False)
        return search(store.table(resource, record), record.definition, asked).hits

    def tidy(self, resource: str, index: str) -> None:
        """Make an index as quick to search as it gets, once much has been written to it.

        A failure is told in the log alone: a later write tries again.
        """
        try:
            store = self._opened()
            from linarite.indexing.search.tending import Tail

            store.tend(resource, index, Tail.AT_LEISURE)
        except Exception:  # noqa: BLE001 - all is stored, and can be searched
            _log.exception("an index could not be tended", index=index)

    def _kept(self, resource: str, index: str, name: str) -> str | None:
        """Something of an index's record. Loads nothing."""
        try:
            kept = (self._root / resource / index / "index.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return str(orjson.loads(kept)[name])

    def _opened(self) -> Any:
        if self._store is None:
            if not extra.is_installed():
                raise ExtraMissing(extra.MESSAGE)
            from linarite.indexing.search.store import Store

            limits = self._limits
            self._store = Store(self._root, limits.indexes, limits.free_space_bytes)
        return self._store
