import pytest

from linarite.errors import UnexpectedEntityState
from linarite.resources.batches.lifecycle import BATCH, ENDINGS, OPEN
from linarite.wire.batches import BatchStatus


def test_every_status_of_the_contract_is_drawn():
    assert set(BATCH.moves) == set(BatchStatus)


def test_every_status_is_reached_from_the_first():
    reached, waiting = set(), [BatchStatus.VALIDATING]
    while waiting:
        status = waiting.pop()
        reached.add(status)
        waiting += BATCH.moves[status] - reached

    assert reached == set(BatchStatus)


def test_open_are_the_statuses_that_something_follows():
    assert set(OPEN) == set(BatchStatus) - set(BATCH.final)


def test_a_batch_that_winds_up_can_end_as_its_ending_says():
    for winding_up, endings in ENDINGS.items():
        for ending in endings:
            BATCH.check(winding_up, ending)


@pytest.mark.parametrize("status", BATCH.final)
def test_a_batch_that_has_ended_cannot_be_cancelled(status):
    with pytest.raises(UnexpectedEntityState):
        BATCH.check(status, BatchStatus.CANCELLING)
