"""Numbers within bounds, as expressions of a grammar.

A number is written in plain digits, at most `DIGITS` before and `DIGITS` after the point. Its
digits are followed one by one for as long as they are those of a bound, and are free from then on.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

DIGITS = 15
"""Within what a double holds exactly."""
_MOST = Decimal(10**DIGITS - 1)
_DIGIT = "[0-9]"


def integers(least: Decimal | None, most: Decimal | None) -> str | None:
    """Whole numbers between two bounds, both included; None where there is none."""
    low = max(-_MOST, -_MOST if least is None else least.to_integral_value(ROUND_CEILING))
    high = min(_MOST, _MOST if most is None else most.to_integral_value(ROUND_FLOOR))
    found = []
    if low < 0 and low <= high:
        found.append(f'"-" ({_whole(max(1, int(-high)), int(-low))})')
    if high >= 0 and low <= high:
        found.append(_whole(max(0, int(low)), int(high)))
    return _any(found)


def numbers(
    least: Decimal | None,
    most: Decimal | None,
    *,
    above: bool = False,
    below: bool = False,
) -> str | None:
    """Numbers between two bounds, included unless `above` or `below`; None where there is none."""
    found: list[str | None] = []
    if least is None or least < 0:
        # What follows the minus sign is above zero: zero itself has none.
        nearest = Decimal(0) if most is None or most >= 0 else -most
        farthest = None if least is None else -least
        negative = _above_zero(nearest, farthest, above=not nearest or below, below=above)
        found.append(negative and f'"-" ({negative})')
    if most is None or most >= 0:
        nearest = Decimal(0) if least is None or least < 0 else least
        is_open = above and nearest == least
        found.append(_above_zero(nearest, most, above=is_open, below=below))
    return _any(found)


def _above_zero(low: Decimal, high: Decimal | None, *, above: bool, below: bool) -> str | None:
    """Numbers from zero on, between two bounds."""
    if low > _MOST or (high is not None and high < low):
        return None
    if high is None or high > _MOST:
        first, last, high_tail = int(low), int(_MOST) + 1, None
    else:
        first, last, high_tail = int(low), int(high), _fraction(high)
    if first == last:
        tail = _point(_fraction(low), high_tail, above=above, below=below)
        return tail and f"{_whole(first, first)} ({tail})"
    found = []
    if tail := _point(_fraction(low), None, above=above, below=False):
        found.append(f"{_whole(first, first)} ({tail})")
    if last - first > 1:
        tail = _point("", None, above=False, below=False)
        found.append(f"({_whole(first + 1, last - 1)}) ({tail})")
    if high_tail is not None and (tail := _point("", high_tail, above=False, below=below)):
        found.append(f"{_whole(last, last)} ({tail})")
    return _any(found)


def _point(low: str, high: str | None, *, above: bool, below: bool) -> str | None:
    """What may follow the whole part: nothing, or a point and digits between two tails."""
    found = []
    if not low and not above and (high is None or high or not below):
        found.append('""')
    tail = _tail(low if low or above else None, high, above, below, DIGITS, needs_digit=True)
    if tail is not None:
        found.append(f'"." ({tail})')
    return _any(found)


def _tail(
    low: str | None, high: str | None, above: bool, below: bool, left: int, *, needs_digit: bool
) -> str | None:
    """Up to `left` digits after a point that lie between two such tails; None: no such bound."""
    if low is None and high is None:
        return f"{_DIGIT}{{{int(needs_digit)},{left}}}"
    found = []
    if low == "" and not above:
        low = None
    if not needs_digit and low is None and (high is None or high or not below):
        found.append('""')
    free: list[int] = []
    for digit in range(10) if left else ():
        of_low = int(low[:1] or 0) if low is not None else -1
        of_high = int(high[:1] or 0) if high is not None else 10
        if not of_low <= digit <= of_high:
            continue
        if of_low < digit < of_high:
            free.append(digit)
            continue
        rest = _tail(
            low[1:] if low is not None and digit == of_low else None,
            high[1:] if high is not None and digit == of_high else None,
            above,
            below,
            left - 1,
            needs_digit=False,
        )
        if rest is not None:
            found.append(f'"{digit}" ({rest})')
    if free:
        found.append(f"[{free[0]}-{free[-1]}] {_DIGIT}{{0,{left - 1}}}")
    return _any(found)


def _whole(low: int, high: int) -> str:
    """Whole numbers from `low` to `high`, neither below zero, without leading zeros."""
    shortest, longest = len(str(low)), len(str(high))
    if shortest == longest:
        return _same_length(str(low), str(high))
    found = [_same_length(str(low), "9" * shortest)]
    if longest - shortest > 1:
        found.append(f"[1-9] {_DIGIT}{{{shortest},{longest - 2}}}")
    found.append(_same_length(str(10 ** (longest - 1)), str(high)))
    return " | ".join(found)


def _same_length(low: str, high: str) -> str:
    """Numbers of as many digits as both bounds have."""
    if low == high:
        return f'"{low}"'
    if set(low) == {"0"} and set(high) == {"9"}:
        return f"{_DIGIT}{{{len(low)}}}"
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    rest = len(low) - 1
    if not rest:
        return f"[{low}-{high}]"
    found = []
    first, last = int(low[0]), int(high[0])
    if set(low[1:]) != {"0"}:
        found.append(f'"{first}" ({_same_length(low[1:], "9" * rest)})')
        first += 1
    if set(high[1:]) != {"9"}:
        found.append(f'"{last}" ({_same_length("0" * rest, high[1:])})')
        last -= 1
    if first <= last:
        found.append(f"[{first}-{last}] {_DIGIT}{{{rest}}}")
    return " | ".join(found)


def _fraction(value: Decimal) -> str:
    """The digits after the point, without zeros at their end."""
    return f"{value:f}".partition(".")[2].rstrip("0")


def _any(found: Sequence[str | None]) -> str | None:
    return " | ".join(one for one in found if one) or None
