"""One encoder for many requests: a fault in one run is told to those who were in it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from linarite.engines.embedder import Embedder


class Encoder:
    """Gives each input its length; fails at one that begins with 0."""

    def encode(self, inputs: Sequence[Sequence[int]]) -> list[Any]:
        if any(tokens[0] == 0 for tokens in inputs):
            raise ValueError("no such token")
        return [np.array([len(tokens)]) for tokens in inputs]


def test_a_fault_is_told_to_those_whose_inputs_they_were_and_others_go_on():
    async def go() -> list[Any]:
        embedder = Embedder(Encoder(), texts_per_run=1)
        asked = [embedder.embed(one, is_batch=False) for one in ([[0]], [[1, 2]], [[3]])]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)

    fault, *vectors = asyncio.run(go())

    assert isinstance(fault, ValueError)
    assert vectors == [[np.array([2])], [np.array([1])]]
