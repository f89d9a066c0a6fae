"""Pace against engines that are three lines of arithmetic."""

from collections.abc import Callable

from linarite.resources.batches.pace import START, Pace


def run(pace: Pace, rate_at: Callable[[int], float], answers: int, now: float = 0.0) -> float:
    """Answer as fast as an engine that does `rate_at(in flight)` requests a second."""
    for _ in range(answers):
        now += 1 / rate_at(pace.limit)
        pace.answered(now)
    return now


def test_it_grows_while_that_makes_the_engine_faster():
    pace = Pace(most=256)

    run(pace, lambda in_flight: 10.0 * in_flight, 20_000)

    assert pace.limit == 256


def test_it_stays_near_what_the_engine_can_use():
    """Beyond 64 at once this engine is not faster: 64 is reached by doubling, 128 tried, undone."""
    pace = Pace(most=256)

    run(pace, lambda in_flight: 10.0 * min(in_flight, 64), 50_000)

    assert 64 <= pace.limit <= 72


def test_an_engine_that_pushes_back_gets_half_once_for_all_that_were_out():
    pace = Pace(most=256)

    for _ in range(10):
        pace.pushed_back(now=5.0, asked_at=4.0, wait_seconds=None)

    assert pace.limit == START // 2


def test_an_engine_that_pushes_back_again_gets_half_again():
    pace = Pace(most=256)

    pace.pushed_back(now=5.0, asked_at=4.0, wait_seconds=None)
    pace.pushed_back(now=7.0, asked_at=6.0, wait_seconds=None)

    assert pace.limit == START // 4


def test_it_waits_as_long_as_it_was_asked():
    pace = Pace(most=256)

    pace.pushed_back(now=5.0, asked_at=4.0, wait_seconds=3.0)

    assert pace.resumes_at == 8.0


def test_an_engine_that_stays_full_is_left_alone_for_longer_and_longer():
    pace, now, rests = Pace(most=256), 0.0, []

    for _ in range(9):
        pace.pushed_back(now, asked_at=now, wait_seconds=None)
        rests.append(round(pace.resumes_at - now, 3))
        now = pace.resumes_at + 1

    assert rests == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_lost_engine_is_tried_with_one_request_and_longer_rests():
    pace, now, rests = Pace(most=256), 0.0, []

    for _ in range(8):
        pace.lost(now, asked_at=now)
        rests.append(round(pace.resumes_at - now, 3))
        now = pace.resumes_at + 1

    assert pace.limit == 1
    assert rests == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_loss_that_all_requests_notice_is_one_loss():
    pace = Pace(most=256)

    for _ in range(100):
        pace.lost(now=9.0, asked_at=8.0)

    assert pace.resumes_at == 9.1


def test_a_lost_engine_is_trusted_again_when_it_answers():
    climbed, told = Pace(most=256), Pace(most=60, known=True)
    run(climbed, lambda in_flight: 10.0 * in_flight, 20_000)

    for pace in (climbed, told):
        pace.lost(now=9e6, asked_at=9e6)
        assert pace.limit == 1
        pace.answered(now=9e6 + 1)

    assert (climbed.limit, told.limit) == (128, 60)


def test_an_engine_that_tells_its_slots_gets_them_and_gets_them_back():
    pace = Pace(most=60, known=True)
    assert pace.limit == 60

    pace.pushed_back(now=1.0, asked_at=0.5, wait_seconds=None)
    assert pace.limit == 30

    run(pace, lambda in_flight: 10.0, 500, now=1.0)
    assert pace.limit == 60


def test_slots_count_from_when_the_engine_tells_them():
    pace = Pace(most=256)
    assert pace.limit == START

    pace.bound(60)

    assert pace.limit == 60


def test_slots_told_by_an_engine_that_was_just_lost_are_not_all_taken_at_once():
    pace = Pace(most=256)
    pace.lost(now=1.0, asked_at=0.5)

    pace.bound(60)

    assert (pace.limit, pace.most) == (1, 60)


def test_slots_that_are_shared_anew_hold_at_once():
    pace = Pace(most=60, known=True)

    pace.bound(30)
    assert pace.limit == 30

    pace.bound(60)
    assert pace.limit == 60
