import asyncio
from dataclasses import replace
from typing import Any

import pytest

from linarite.resources.batches.asking import Presence, Shared, Shares
from linarite.resources.batches.dispatch import Reply
from linarite.resources.batches.records import BatchRecord
from linarite.wire.batches import BatchStatus


class Engine:
    def __init__(self, slots: int | None) -> None:
        self._slots = slots

    async def ask(self, body: dict[str, Any]) -> Reply:
        return Reply(200, {}, b"{}", 200)

    async def slots(self) -> int | None:
        return self._slots


def batch(deployment: str) -> BatchRecord:
    nothing = dict.fromkeys(BatchRecord.__dataclass_fields__)
    record = BatchRecord(**nothing)
    return replace(
        record, status=BatchStatus.IN_PROGRESS, deployment=deployment, deployment_owner="*"
    )


@pytest.mark.parametrize(("slots", "alone", "together"), [(60, 60, 30), (1, 1, 1), (None,) * 3])
def test_batches_of_one_deployment_share_its_slots(slots, alone, together):
    shares = Shares()

    with shares.one_more(batch("chat")) as share, shares.one_more(batch("other")):
        engine = Shared(Engine(slots), share, Presence())
        assert asyncio.run(engine.slots()) == alone

        with shares.one_more(batch("chat")):
            assert asyncio.run(engine.slots()) == together
        assert asyncio.run(engine.slots()) == alone
