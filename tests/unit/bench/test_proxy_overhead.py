from bench.chat_client import Asked
from bench.proxy_overhead import Turn, first_byte


def asked(seconds: float, first_bytes: list[float]) -> Asked:
    return Asked(first_bytes, seconds)


def test_what_is_added_is_what_going_straight_does_not_take():
    turn = Turn(asked(1, []), asked(3, []), asked(11, []))

    assert turn.added(lambda each: each.in_all) == (10, 2)


def test_the_slowest_first_bytes_are_held_against_the_engines_usual_ones():
    """19 of 20 come within 4 ms of the engine's 1 ms, so that p95 is 3 ms later; one hangs."""
    usual = asked(1, [0.001] * 20)
    ours = asked(1, [0.004] * 19 + [9.0])

    finding = first_byte("streams", [Turn(usual, ours, ours)])

    assert round(finding.value, 6) == 3
    assert finding.is_met
