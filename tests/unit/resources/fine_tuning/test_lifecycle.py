"""Which status of a tuning job may follow which."""

import pytest

from linarite.errors import UnexpectedEntityState
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.wire.models import FineTuningState


def test_every_state_is_reached_but_the_one_that_is_never_returned():
    reached = {"pending"}
    while more := {new for old in reached for new in JOB.moves[old]} - reached:
        reached |= more

    assert reached == set(FineTuningState) - {FineTuningState.CREATED}


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_stays_so(state):
    assert JOB.is_final(state)
    with pytest.raises(UnexpectedEntityState, match=f"that is {state} cannot become cancelled"):
        JOB.check(state, "cancelled")
