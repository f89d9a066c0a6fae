"""A worker: takes tasks, shows that it lives, takes over from those that do not, and stops cleanly.

    start ──▶ listed, beating ──▶ stop: take no more ▸ running tasks return at their next check
                                       ▸ re-enqueue them ▸ unlist

A worker that dies stays listed; whoever notices first (at once on the same machine, after
`dead_after_seconds` without a beat elsewhere) puts its tasks back into their queues.
"""

import threading
import time
from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from linarite.settings import TaskSettings
from linarite.storage.database import Database, Transaction
from linarite.tasks import presence, rows, runner
from linarite.tasks.durable import Executor
from linarite.tasks.task import HandedBack, Schedule, Task
from linarite.tasks.tickets import TaskTicket, TickTicket

_KEEP_FINISHED_SECONDS = 3600.0
_CLEAN_EVERY_SECONDS = 60.0
_CLEAN_AT_ONCE = 500

_Execution = tuple[str, str | None]  # a workflow's id, and the token of one run of it

_log = structlog.get_logger("linarite.tasks")


class Worker:
    """Performs `tasks` and `schedules` in this process; at most one a process."""

    def __init__(
        self,
        database: Database,
        tasks: Sequence[Task],
        schedules: Sequence[Schedule],
        settings: TaskSettings,
    ) -> None:
        self.id = presence.worker_id()
        self._database = database
        self._tasks = {task.name: task for task in tasks}
        self._schedules = schedules
        self._settings = settings
        self._stopping = threading.Event()
        self._tickets: dict[_Execution, TaskTicket] = {}
        self._ticks: dict[str, TickTicket] = {}
        self._changed = threading.Condition()
        self._executor = Executor(database, self.id, tasks, settings.poll_seconds, self._perform)
        self._beats = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._cleaned = 0.0

    def start(self) -> None:
        """Begin to work; the tasks of predecessors that died on this machine are taken at once."""
        rows.beat(self._database, self.id)  # listed first: nobody may take it for dead
        for schedule in self._schedules:
            rows.add_schedule(self._database, schedule.name)
        self._executor.launch()
        self._take_over()
        self._beats.start()

    def stop(self, *, within_seconds: float) -> bool:
        """Hand every task back, so that another worker goes on with it at once.

        Returns:
            Whether all of them returned in time. One that did not is handed back as well; its
            process should end, for it may still be doing what its successor begins.
        """
        self._stopping.set()
        self._executor.stop_taking()
        self._revoke_all()
        with self._changed:
            drained = self._changed.wait_for(
                lambda: not self._tickets and not self._ticks, within_seconds
            )
        self._beats.join(self._settings.heartbeat_seconds + 5)
        handed = self._executor.re_enqueue([self.id])
        rows.unlist(self._database, self.id)
        _log.info("worker stopped", tasks_handed_back=handed, drained=drained)
        return drained

    def close(self) -> None:
        """Let go of the database; after `stop` only."""
        self._executor.close()

    def _perform(self, name: str, subject_id: str, workflow_id: str, owner: str | None) -> None:
        """What the executor calls in a thread for each task that it took."""

        def still_owned() -> bool:
            return rows.owners(self._database, [workflow_id]).get(workflow_id) == owner

        def owned_within(tx: Transaction) -> bool:
            return rows.locked_owner(self._database, tx, workflow_id) == owner

        ticket = TaskTicket(still_owned, owned_within)
        execution = (workflow_id, owner)
        with self._changed:
            self._tickets[execution] = ticket
            if self._stopping.is_set():
                ticket.revoke()
        try:
            starts = rows.times_started(self._database, workflow_id)
            runner.run(self._tasks[name], subject_id, ticket, starts=starts)
        finally:
            with self._changed:
                del self._tickets[execution]
                self._changed.notify_all()

    def _revoke_all(self) -> None:
        with self._changed:
            for ticket in self._tickets.values():
                ticket.revoke()
            for tick in self._ticks.values():
                tick.revoke()

    def _beat_on(self) -> None:
        """The heartbeat's thread: a database that fails is waited for, as tasks themselves do."""
        while not self._stopping.wait(self._settings.heartbeat_seconds):
            try:
                rows.beat(self._database, self.id)
                self._confirm()
                self._take_over()
                self._start_due_schedules()
                self._clean()
            except sa.exc.SQLAlchemyError:
                _log.exception("heartbeat failed")

    def _confirm(self) -> None:
        """Tell every ticket whether its task is still this worker's."""
        with self._changed:
            held = dict(self._tickets)
        if not held:
            return
        at = time.monotonic()
        owners = rows.owners(self._database, [workflow_id for workflow_id, _ in held])
        for (workflow_id, owner), ticket in held.items():
            ticket.confirm(owners.get(workflow_id) == owner, at)

    def _take_over(self) -> None:
        """Put the tasks of workers that are gone back into their queues."""
        ages = rows.listed(self._database)
        gone = {other for other in ages if presence.is_gone(other)}
        gone |= {other for other, age in ages.items() if age > self._settings.dead_after_seconds}
        unlisted = rows.busy_executors(self._database) - ages.keys()
        if lost := (gone | unlisted) - {self.id}:
            taken = self._executor.re_enqueue(sorted(lost))
            for other in gone:
                rows.unlist(self._database, other)
            _log.warning("took over from workers that are gone", workers=sorted(lost), tasks=taken)

    def _start_due_schedules(self) -> None:
        for schedule in self._schedules:
            if schedule.name in self._ticks:
                continue
            if rows.take_tick(self._database, schedule.name, schedule.every_seconds):
                with self._changed:
                    ticket = self._ticks[schedule.name] = TickTicket()
                work = threading.Thread(
                    target=self._tick, args=(schedule, ticket), name=schedule.name, daemon=True
                )
                work.start()

    def _tick(self, schedule: Schedule, ticket: TickTicket) -> None:
        try:
            schedule.perform(ticket)
        except HandedBack:
            pass
        except Exception:  # noqa: BLE001 - the next tick tries again
            _log.exception("schedule failed", schedule=schedule.name)
        finally:
            with self._changed:
                del self._ticks[schedule.name]
                self._changed.notify_all()

    def _clean(self) -> None:
        """Forget tasks that ended a while ago."""
        if time.monotonic() - self._cleaned < _CLEAN_EVERY_SECONDS and self._cleaned:
            return
        old = rows.finished_before(self._database, _KEEP_FINISHED_SECONDS, limit=_CLEAN_AT_ONCE)
        if old:
            self._executor.delete(old)
        if len(old) < _CLEAN_AT_ONCE:
            self._cleaned = time.monotonic()
