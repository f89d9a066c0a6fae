"""How far a run has come, as callers see it.

Crawling        pages
Preprocessing   documents that nothing is to be done about any more
└── Listing     documents that the container told of
Indexing        documents that are in the index
├── Removing    documents that were taken out of it, for they are no more
└── Reconciling whether the index holds what was stored there
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tenure import Tenure
from linarite.storage.database import Transaction
from linarite.wire.ingestion import IngestionJobStageProgress, OperationState

_EVERY_SECONDS = 1.0
_STATE_EVERY_SECONDS = 0.2
_MOST = 2**31 - 1


@dataclass
class Stage:
    """One stage, and those that it is made of."""

    name: str
    changed: Callable[[bool], None]
    """Told of every change; whether it is one of states."""
    parts: "list[Stage]" = field(default_factory=list)
    state: OperationState = OperationState.NOT_RUNNING
    processed: int | None = None
    total: int | None = None

    def count(self, processed: int, total: int | None = None) -> None:
        """Note how far it is; without a total, there are as many as were processed."""
        self.processed, self.total = processed, processed if total is None else total
        self.changed(False)

    def begin(self) -> None:
        """It is running."""
        self._become(OperationState.RUNNING)

    def end(self) -> None:
        """It has succeeded."""
        self._become(OperationState.SUCCEEDED)

    def _become(self, state: OperationState) -> None:
        self.state = state
        self.changed(True)

    def to_wire(self) -> IngestionJobStageProgress:
        """The stage as callers see it."""
        return IngestionJobStageProgress(
            name=self.name,
            state=self.state,
            total_items=None if self.total is None else min(self.total, _MOST),
            processed_items=None if self.processed is None else min(self.processed, _MOST),
            sub_stage_progress=[part.to_wire() for part in self.parts] or None,
        )


class Stages:
    """The stages of a run, written down about once a second while they change.

    Args:
        runs: writes them.
        run_id: of which run.
        tenure: the right to.
        crawls: whether the run crawls.
    """

    def __init__(self, runs: Ingestion, run_id: str, tenure: Tenure, *, crawls: bool) -> None:
        self._runs = runs
        self._run_id = run_id
        self._tenure = tenure
        self._written = float("-inf")
        self.crawling = Stage("Crawling", self._note)
        self.listing = Stage("Listing", self._note)
        self.preprocessing = Stage("Preprocessing", self._note, [self.listing])
        self.removing = Stage("Removing", self._note)
        self.reconciling = Stage("Reconciling", self._note)
        self.indexing = Stage("Indexing", self._note, [self.removing, self.reconciling])
        self._all = [self.crawling] if crawls else []
        self._all += [self.preprocessing, self.indexing]

    def write(self, tx: Transaction) -> None:
        """Write them all down."""
        self._runs.note_stages(tx, self._run_id, [stage.to_wire() for stage in self._all])

    def write_now(self) -> None:
        """The same, however soon after the last time."""
        self._written = time.monotonic()
        with self._tenure.writing() as tx:
            self.write(tx)

    def _note(self, is_state: bool) -> None:
        seconds = time.monotonic() - self._written
        if seconds >= (_STATE_EVERY_SECONDS if is_state else _EVERY_SECONDS):
            self.write_now()
