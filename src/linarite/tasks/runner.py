"""How one task is performed: tried, tried again after a delay, and given up in the end.

The one place that settles a failed task, and so one of the few that catch every exception.
"""

import sqlalchemy as sa
import structlog

from linarite.tasks.task import Task
from linarite.tasks.tickets import TaskTicket

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0
_MOST_STARTS = 100
_DATABASE_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError)

_log = structlog.get_logger("linarite.tasks")


class WorkersDied(Exception):
    """The task was started again and again and no worker lived to finish it."""


class Released(BaseException):
    """The task goes back to the queue; not an Exception, so that DBOS records no outcome."""


def delay_seconds(attempt: int, *, first: float = _FIRST_DELAY_SECONDS) -> float:
    """How long to wait after failure number `attempt` (from 0)."""
    return float(min(first * 2 ** min(attempt, 16), _LONGEST_DELAY_SECONDS))


def run(task: Task, subject_id: str, ticket: TaskTicket, *, starts: int) -> None:
    """Perform the task to its end.

    Args:
        task: its kind.
        subject_id: what to perform it on.
        ticket: the right to; `attempt` is set here.
        starts: how often any worker started it, this time included.

    Raises:
        Released: it must go back to the queue.
    """
    error: Exception = WorkersDied(f"No worker lived to finish {task.name}.")
    ticket.attempt = 0 if starts <= _MOST_STARTS else task.attempts
    failures = 0
    while ticket.attempt < task.attempts:
        if (failure := _try(task, subject_id, ticket)) is None:
            return
        error = failure
        if not isinstance(error, _DATABASE_AWAY):  # waited for, however long it takes
            ticket.attempt += 1
        if ticket.attempt < task.attempts:
            ticket.pause(delay_seconds(failures, first=task.retry_seconds))
            failures += 1
    _give_up(task, subject_id, ticket, error)


def _try(task: Task, subject_id: str, ticket: TaskTicket) -> Exception | None:
    """One attempt; the exception that it ended with, if any."""
    try:
        ticket.check()
        task.perform(subject_id, ticket)
    except Exception as error:
        if ticket.is_revoked:  # also when a task group wrapped HandedBack, or its I/O was cut
            raise Released from error
        _log.exception("task failed", task=task.name, subject=subject_id, attempt=ticket.attempt)
        return error
    return None


def _give_up(task: Task, subject_id: str, ticket: TaskTicket, error: Exception) -> None:
    """Settle the subject; insists, for a subject in limbo would be waited for without end."""
    failures = 0
    while True:
        try:
            ticket.check()
            task.give_up(subject_id, error)
        except Exception as failure:
            if ticket.is_revoked:
                raise Released from failure
            _log.exception("giving up failed", task=task.name, subject=subject_id)
        else:
            return
        ticket.pause(delay_seconds(failures, first=task.retry_seconds))
        failures += 1
