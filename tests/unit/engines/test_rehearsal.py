"""A structure that is slow to follow, or of which much is kept, is not admitted."""

import time
from typing import Any

import pytest

from linarite.engines.rehearsal import KEPT_BYTES, TOKEN_SECONDS, rehearse
from linarite.engines.sampling import Structure

OBJECT = {"object": None}


class Fast:
    """Follows every structure in no time."""

    def follow(self, structure: Structure, tokens: int, seed: int = 0) -> list[int]:
        return [1] * tokens


class Slow(Fast):
    """Takes twice the time for each token."""

    def follow(self, structure: Structure, tokens: int, seed: int = 0) -> list[int]:
        ends = time.process_time() + 2 * TOKEN_SECONDS
        while time.process_time() < ends:
            pass
        return [1]


class Large(Fast):
    """Keeps too much."""

    def follow(self, structure: Structure, tokens: int, seed: int = 0) -> list[int]:
        self.kept = bytearray(b"1") * (KEPT_BYTES + (1 << 20))
        return [1] * tokens


def test_one_that_is_followed_well_is_admitted():
    rehearsal: Any = Fast()

    said = rehearse(rehearsal, OBJECT)

    assert said["grammar"].startswith("root ::= object")
    assert said["bytes"] < 1 << 20


@pytest.mark.parametrize("kind", [Slow, Large])
def test_one_that_would_burden_others_is_refused(kind):
    assert "too involved" in rehearse(kind(), OBJECT)["refused"]


def test_one_whose_grammar_is_too_long_is_refused():
    rehearsal: Any = Fast()

    said = rehearse(rehearsal, {"schema": {"enum": [f"value {at}" for at in range(200_000)]}})

    assert "too large" in said["refused"]
