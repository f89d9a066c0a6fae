"""Chats go before batches, and a batch never fills an engine."""

import pytest

from linarite.engines.admission import Admission, Request
from linarite.engines.sampling import Sampling

CALM = 1000.0
"""A moment long after the last chat."""


def request(number: int, *, batch: bool = True, can_resume: bool = True) -> Request:
    return Request(number, [1, 2, 3], Sampling(max_tokens=8, can_resume=can_resume), batch)


@pytest.fixture
def admission():
    return Admission(slots=16)


def fill(admission: Admission, count: int) -> list[Request]:
    requests = [request(number) for number in range(1, count + 1)]
    for one in requests:
        admission.put(one, CALM)
    return requests


def test_batches_leave_four_slots_free(admission):
    fill(admission, 20)

    assert len(admission.admit(CALM)) == 12
    assert admission.counts()["batch_waiting"] == 8


def test_a_chat_is_admitted_before_a_batch_that_waited_longer(admission):
    fill(admission, 2)
    admission.put(request(9, batch=False), CALM)

    assert admission.admit(CALM)[0].id == 9


def test_chats_may_take_every_slot(admission):
    for number in range(20):
        admission.put(request(number, batch=False), CALM)

    assert len(admission.admit(CALM)) == 16


def test_while_chats_come_batches_are_read_one_at_a_time(admission):
    admission.put(request(1, batch=False), CALM)
    (chat,) = admission.admit(CALM)
    fill(admission, 3)
    assert admission.admit(CALM) == []

    chat.is_reading = False

    assert [one.id for one in admission.admit(CALM)] == [1]


def test_batches_still_being_read_step_back_for_a_chat_and_keep_their_order(admission):
    batch = fill(admission, 6)
    admission.admit(CALM)
    batch[0].is_reading = False
    admission.put(request(9, batch=False), CALM)

    withdrawn = admission.step_back()

    assert {one.id for one in withdrawn} == {2, 3, 4, 5, 6}
    assert [one.id for one in admission.admit(CALM)] == [9]
    assert [one.id for one in admission._batch] == [2, 3, 4, 5, 6]
    assert admission.step_back() == []


def test_an_answer_that_could_not_go_on_the_same_does_not_step_back(admission):
    seeded = request(1, can_resume=False)
    admission.put(seeded, CALM)
    admission.admit(CALM)
    seeded.said, seeded.is_reading = [7], False
    admission.put(request(9, batch=False), CALM)

    assert admission.step_back() == []


def test_batches_shrink_while_chats_come_and_steps_are_long():
    admission = Admission(slots=64)
    batch = fill(admission, 60)
    admission.admit(CALM)
    for one in batch:
        one.is_reading = False
    sizes = []

    for number in range(20):
        admission.put(request(100 + number, batch=False), CALM)
        admission.step_back()
        sizes.append(admission.counts()["batch"])
        admission.note_step(0.2, CALM)

    assert (sizes[0], sizes[-1]) == (16, 4)
    assert sizes == sorted(sizes, reverse=True)


def test_a_request_that_waits_or_runs_can_be_removed(admission):
    fill(admission, 13)
    admission.admit(CALM)

    assert admission.remove(13) is None
    assert admission.remove(1).id == 1
    assert admission.counts()["batch"] == 11
    assert not admission.has_waiting()


RULES = list(range(40))
"""A beginning that is longer than a block of the prefix cache."""


def question(number: int, *, batch: bool = True, beginning: list[int] = RULES) -> Request:
    return Request(number, [*beginning, number], Sampling(max_tokens=8), batch)


def test_of_batch_requests_that_begin_alike_one_is_read_first(admission):
    alike, other = [question(1), question(2), question(3)], question(4, beginning=[7, 8])
    for one in (*alike, other):
        admission.put(one, CALM)

    assert admission.admit(CALM) == [alike[0], other]
    assert admission.admit(CALM) == []

    admission.note_read(alike[0])

    assert admission.admit(CALM) == alike[1:]


def test_nobody_waits_for_a_prompt_that_is_no_longer_read(admission):
    first, second = question(1), question(2)
    admission.put(first, CALM)
    admission.put(second, CALM)
    admission.admit(CALM)

    admission.remove(first.id)

    assert admission.admit(CALM) == [second]


def test_a_chat_waits_for_no_prompt(admission):
    admission.put(question(1), CALM)
    admission.admit(CALM)
    chat = question(2, batch=False)
    admission.put(chat, CALM)

    assert admission.admit(CALM) == [chat]


def test_an_engine_of_one_slot_answers_chats_and_batches_one_at_a_time():
    admission = Admission(slots=1)
    fill(admission, 2)
    assert [one.id for one in admission.admit(CALM)] == [1]
    admission.put(request(9, batch=False), CALM)
    assert admission.admit(CALM) == []

    admission.active[1].said.append(5)
    admission.active[1].is_reading = False
    admission.remove(1)

    assert [one.id for one in admission.admit(CALM)] == [9]
