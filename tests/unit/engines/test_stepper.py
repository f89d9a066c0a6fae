"""What a stepper tells of requests that its pipeline does not take."""

import dataclasses
from typing import Any

import pytest

from linarite.engines.admission import Admission
from linarite.engines.generation import Said
from linarite.engines.sampling import Sampling, Structure
from linarite.engines.stepper import Stepper


class Refusing:
    """A pipeline that objects to everything."""

    def prepare(self, structure: Structure) -> None:
        raise RuntimeError("no such structure")

    def add(self, prompt: Any, sampling: Sampling) -> None:
        raise RuntimeError("no such values")

    def is_busy(self) -> bool:
        return False

    def step(self) -> None:
        pass


@pytest.mark.parametrize("structure", [None, Structure("grammar", "root ::= unknown")])
def test_a_request_that_is_not_taken_is_told_as_every_other(structure: Structure | None):
    pipeline: Any = Refusing()
    stepper = Stepper(pipeline, Admission(8))
    sampling = dataclasses.asdict(Sampling(max_tokens=5, structure=structure))
    stepper.obey({"add": {"id": 7, "prompt": [1], "sampling": sampling, "is_batch": False}})

    said = []
    for _ in range(100):
        said += stepper.step()
        if said:
            break

    request_id, *told = said[0]
    expected: Said = (0, [], "refused", [])
    assert (request_id, told) == (7, list(expected[1:]))
    assert not stepper.is_busy()
