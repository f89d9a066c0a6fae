"""DBOS as this house uses it: one generic workflow over the table of tasks, in the same database.

The only module that imports DBOS (which takes most of a second, so the API imports this one late)
and the only one that touches its underscored calls; the version is bounded, tests hold them to
what they promise.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, Serializer
from dbos._context import current_owner_xid
from dbos._error import DBOSQueueDeduplicatedError

from linarite.storage.database import Database, Transaction
from linarite.tasks import rows
from linarite.tasks.task import Task

_APPLICATION = "linarite"
_WORKFLOW = "perform"
_VERSION = "1"  # of arguments and meaning of `perform`, not of the program: updates keep tasks
_NO_LIMIT = 2**31 - 1
_REST_SECONDS = 0.01  # of a queue's thread before it waits for work

_log = structlog.get_logger("linarite.tasks")


class _Json(Serializer):
    """Arguments and results as JSON; DBOS's own default is pickle."""

    def name(self) -> str:
        return "linarite_json"

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=str)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)


def migrate(database: Database) -> None:
    """Make or update DBOS's tables."""
    _speak_through_our_log()
    DBOS.migrate(_url(database))


class Enqueuer:
    """Puts tasks down within a caller's transaction."""

    def __init__(self, database: Database) -> None:
        _speak_through_our_log()
        self._client = _client(database.engine)

    def enqueue(
        self, tx: Transaction, task: str, subject_id: str, *, resource: str, place: int = 0
    ) -> None:
        """As `Queue.enqueue`."""
        options: Any = {
            "workflow_name": _WORKFLOW,
            "queue_name": task,
            "queue_partition_key": resource,
            "deduplication_id": subject_id,
            "app_version": _VERSION,
        }
        if place:  # what has none goes first
            options["priority"] = min(place, _NO_LIMIT)
        try:
            with tx.begin_nested():  # PostgreSQL aborts what a refused row stands in
                self._client.enqueue_in_transaction(tx, options, task, subject_id)
        except DBOSQueueDeduplicatedError:
            return

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()


class Executor:
    """Takes tasks from the queues and performs them in threads; at most one a process.

    Args:
        database: where the queues are.
        worker_id: who takes them.
        tasks: which queues to take from.
        poll_seconds: how often to look.
        perform: called as ``perform(task, subject_id, workflow_id, owner)``; when it raises
            something that is no Exception, the task stays this worker's until it is re-enqueued.
    """

    def __init__(
        self,
        database: Database,
        worker_id: str,
        tasks: Sequence[Task],
        poll_seconds: float,
        perform: Callable[[str, str, str, str | None], None],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._tasks = tasks
        self._perform = perform
        self._dbos: Any = None
        self._engine = _engine(database)
        self._poll_seconds = poll_seconds
        self._look = _Look(database, [task.name for task in tasks], poll_seconds)

    def launch(self) -> None:
        """Begin to take tasks."""
        _speak_through_our_log()
        config = DBOSConfig(
            name=_APPLICATION,
            system_database_url=_url(self._database),
            system_database_engine=self._engine,
            executor_id=self._worker_id,
            application_version=_VERSION,
            serializer=_Json(),
            run_migrations=False,
            log_level="WARNING",
            # nothing listens; but it sleeps as long, and closing waits for it
            notification_listener_polling_interval_sec=self._poll_seconds,
        )
        self._dbos = DBOS(config=config)
        self._register()
        DBOS.listen_queues([task.name for task in self._tasks])
        client = _client(self._engine)
        for task in self._tasks:
            client.register_queue(
                task.name,
                worker_concurrency=task.concurrency,
                partition_concurrency=task.per_resource,
                partition_worker_concurrency=min(
                    task.per_resource or task.concurrency, task.concurrency - task.concurrency // 4
                ),
                polling_interval_sec=_REST_SECONDS,
                on_conflict="always_update",
            )
        client.destroy()
        DBOS.launch()
        self._look_before_polling()

    def _look_before_polling(self) -> None:
        """Ask for work by one cheap query before DBOS asks by its dear ones.

        DBOS has a thread for every queue, which would poll by itself; at ten times a second that
        takes a tenth of a core while nothing happens, which an engine beside them needs. So each
        sleeps until the look finds work for it. DBOS passes over a queue that has no scopes; it
        reads a queue's configuration anew at each poll, which no other worker may change anyway.
        """
        store = self._dbos._sys_db
        scopes_of = store.dequeue_scopes
        configured = {task.name: store.get_queue(task.name) for task in self._tasks}

        def scopes_with_work(queue_name: str) -> Any:
            return scopes_of(queue_name) if self._look.wait_for_work(queue_name) else []

        store.dequeue_scopes = scopes_with_work
        store.get_queue = configured.get
        self._look.start()

    def stop_taking(self) -> None:
        """Take no more tasks; those taken go on."""
        for event in self._dbos.background_thread_stop_events:
            event.set()
        self._look.stop()

    def close(self) -> None:
        """Let go of everything, tasks that still run included."""
        DBOS.destroy(destroy_registry=True)
        if self._engine is not self._database.engine:
            self._engine.dispose()

    def re_enqueue(self, worker_ids: Sequence[str]) -> int:
        """Put every task in these workers' hands back into its queue; their executions are fenced.

        Returns:
            How many there were.
        """
        return len(DBOS._recover_pending_workflows(list(worker_ids)))

    def delete(self, workflow_ids: Sequence[str]) -> None:
        """Forget finished workflows."""
        DBOS.delete_workflows(list(workflow_ids))

    def _register(self) -> None:
        perform, look = self._perform, self._look

        # counting starts is the runner's, so that a task that outlives many workers is settled
        @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=_NO_LIMIT)
        def workflow(task: str, subject_id: str) -> None:
            workflow_id = str(DBOS.workflow_id)
            perform(task, subject_id, workflow_id, current_owner_xid(workflow_id))
            look.hurry()  # it may have put down the task that comes next


class _Look:
    """Looks which queues have work, for all of the queues' threads, which wait for it here."""

    def __init__(self, database: Database, queue_names: Sequence[str], seconds: float) -> None:
        self._database = database
        self._query = rows.queues_with_work(database, queue_names)
        self._seconds = seconds
        self._hurried = threading.Event()
        self._found: set[str] = set()
        self._is_stopped = False
        self._changed = threading.Condition()

    def start(self) -> None:
        """Begin to look, every so many seconds."""
        threading.Thread(target=self._look_on, name="look", daemon=True).start()

    def stop(self) -> None:
        """Look no more, and let everyone go who waits."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._hurried.set()

    def hurry(self) -> None:
        """Look at once."""
        self._hurried.set()

    def wait_for_work(self, queue_name: str) -> bool:
        """Wait until a look finds work in this queue, once for each look; False at the stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or queue_name in self._found)
            self._found.discard(queue_name)
            return not self._is_stopped

    def _look_on(self) -> None:
        while not self._is_stopped:
            self._hurried.clear()
            try:
                with self._database.reading() as connection:
                    found = set(connection.execute(self._query).scalars())
                with self._changed:
                    self._found = found
                    self._changed.notify_all()
            except sa.exc.SQLAlchemyError:  # the next look tries again
                _log.exception("cannot look for work")
            self._hurried.wait(self._seconds)


def _client(engine: sa.Engine) -> DBOSClient:
    return DBOSClient(
        system_database_engine=engine,
        serializer=_Json(),
        application_name=_APPLICATION,
        lazy=True,
    )


def _engine(database: Database) -> sa.Engine:
    """DBOS's own connections: on SQLite it begins transactions by itself, unlike ours."""
    if not database.is_sqlite:
        return database.engine
    engine = sa.create_engine(database.url, pool_size=20)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def _speak_through_our_log() -> None:
    """Keep DBOS from adding a handler of its own."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
