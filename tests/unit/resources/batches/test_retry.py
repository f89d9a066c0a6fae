from email.utils import formatdate

import pytest

from linarite.resources.batches.retry import (
    OUTAGE_PATIENCE_SECONDS,
    Verdict,
    asked_wait_seconds,
    backoff_seconds,
    counts,
    verdict,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Verdict.ANSWERED),
        (400, Verdict.REFUSED),
        (401, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (408, Verdict.AGAIN),
        (409, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (501, Verdict.AGAIN),
        (429, Verdict.ENGINE),
        (502, Verdict.ENGINE),
        (503, Verdict.ENGINE),
        (504, Verdict.ENGINE),
    ],
)
def test_a_status_says_what_becomes_of_the_request(status, expected):
    assert verdict(status) is expected


def test_an_engine_that_restarts_costs_no_attempt():
    assert not counts(now=50, first_failure=40, engine_answered=39, began=0)


def test_an_engine_that_answers_others_meanwhile_costs_an_attempt():
    assert counts(now=50, first_failure=40, engine_answered=45, began=0)


def test_an_engine_that_answers_nobody_for_too_long_costs_attempts():
    later = 10 + OUTAGE_PATIENCE_SECONDS + 1

    assert counts(now=later, first_failure=20, engine_answered=10, began=0)
    assert counts(now=later, first_failure=20, engine_answered=None, began=10)
    assert not counts(now=later, first_failure=20, engine_answered=None, began=20)


def test_rests_grow_up_to_half_a_minute():
    longest = [backoff_seconds(attempt, 1.0) for attempt in range(1, 9)]

    assert longest == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff_seconds(1, 0.0) == 0.25


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": formatdate(1_000_020, usegmt=True)}, 20.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "86400"}, 600.0),
    ],
)
def test_the_wait_that_an_engine_asks_for_is_read(headers, expected):
    assert asked_wait_seconds(headers, now=1_000_000) == expected
