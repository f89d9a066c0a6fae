"""When a ticket lets work go on."""

import threading
import time

import pytest
import sqlalchemy as sa

from linarite.tasks.task import HandedBack
from linarite.tasks.tickets import TaskTicket, TickTicket


def nowhere() -> sa.Connection:
    return sa.create_engine("sqlite://").connect()


def test_a_fresh_ticket_lets_work_go_on() -> None:
    TaskTicket(lambda: False, lambda _tx: True).check()


def test_a_revoked_ticket_stops_the_work() -> None:
    ticket = TickTicket()
    ticket.revoke()

    with pytest.raises(HandedBack):
        ticket.check()


def test_a_confirmation_that_is_old_is_asked_for_again() -> None:
    asked = []
    ticket = TaskTicket(lambda: asked.append(1) is None, lambda _tx: True)
    ticket._confirmed = time.monotonic() - 60

    ticket.check()
    ticket.check()

    assert asked == [1]


def test_a_task_that_was_lost_meanwhile_stops_at_its_next_check() -> None:
    ticket = TaskTicket(lambda: False, lambda _tx: True)
    ticket._confirmed = time.monotonic() - 60

    with pytest.raises(HandedBack):
        ticket.check()


def test_a_guarded_transaction_of_a_lost_task_is_stopped() -> None:
    ticket = TaskTicket(lambda: True, lambda _tx: False)

    with nowhere() as tx, pytest.raises(HandedBack):
        ticket.guard(tx)
    assert ticket.is_revoked


def test_waiting_ends_as_soon_as_the_work_must_stop() -> None:
    ticket = TickTicket()
    threading.Timer(0.05, ticket.revoke).start()
    began = time.monotonic()

    with pytest.raises(HandedBack):
        ticket.wait(30)

    assert time.monotonic() - began < 5
