"""What is written of a number with bounds: all within them, nothing beyond."""

import itertools
import re
from decimal import Decimal

import pytest

from linarite.engines.number_grammar import integers, numbers

TEXTS = [
    sign + whole + ("." + tail if tail else "")
    for sign in ("", "-")
    for whole in ("0", "1", "2", "7", "9", "10", "12", "13", "99", "100", "101", "999", "1000")
    for tail in ("", "0", "1", "2", "25", "26", "250", "249", "5", "50", "75", "76", "99", "005")
]
BOUNDS = [
    "-100.5",
    "-12.75",
    "-1",
    "-0.25",
    "0",
    "0.005",
    "0.25",
    "1",
    "7.5",
    "12.76",
    "99",
    "1000",
]


def pattern(expression):
    """An expression of digits as a regular expression: the two differ in quotes and blanks."""
    return re.compile(
        expression.replace('""', "").replace('"."', r"\.").replace('"', "").replace(" ", "")
    )


@pytest.mark.parametrize("low", [None, *BOUNDS])
@pytest.mark.parametrize("high", [None, *BOUNDS])
def test_numbers_within_bounds_are_written_and_no_others(low, high):
    least, most = (None if bound is None else Decimal(bound) for bound in (low, high))
    for above, below in itertools.product((False, True), repeat=2):
        written = numbers(least, most, above=above, below=below)
        fits = pattern(written) if written else None
        for text in TEXTS:
            value = Decimal(text)
            is_low = least is not None and (value < least or (above and value == least))
            is_high = most is not None and (value > most or (below and value == most))
            is_wanted = not is_low and not is_high and not (text[0] == "-" and value == 0)
            assert bool(fits and fits.fullmatch(text)) is is_wanted, (text, above, below)


@pytest.mark.parametrize("low", [None, -1001, -100, -9, -1, 0, 1, 7, 10, 99, 1000])
@pytest.mark.parametrize("high", [None, -1000, -99, -10, -1, 0, 1, 8, 10, 19, 101, 1234])
def test_integers_within_bounds_are_written_and_no_others(low, high):
    written = integers(*(None if bound is None else Decimal(bound) for bound in (low, high)))
    fits = pattern(written) if written else None

    wrong = [
        value
        for value in range(-1300, 1300)
        if bool(fits and fits.fullmatch(str(value)))
        is not ((low is None or value >= low) and (high is None or value <= high))
    ]

    assert wrong == []


@pytest.mark.parametrize("text", ["-0", "00", "01", "1.", ".5", "-", "", "1e3", "+1"])
def test_what_json_has_no_number_for_is_never_written(text):
    least, most = Decimal(-1000), Decimal(1000)

    assert not pattern(integers(least, most)).fullmatch(text)
    assert not pattern(numbers(least, most)).fullmatch(text)
