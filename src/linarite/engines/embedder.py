"""The one place that computes embeddings: a sentence encoder's ONNX file, run by OpenVINO.

Inference lets go of the interpreter's lock, so it runs in a thread of the HTTP process. Texts of
requests that wait at the same time share a batch; those of chats and searches go before batches'.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from linarite.engines.weights import Array

TEXTS_PER_RUN = 32
_TOKENS_PER_RUN = 4096


class Encoder:
    """A loaded encoder: token ids in, vectors of length one out."""

    def __init__(self, onnx_file: Path) -> None:
        core = openvino.Core()
        self._model: Any = core.compile_model(core.read_model(onnx_file), "CPU")
        self._inputs = [port.get_any_name() for port in self._model.inputs]

    def encode(self, inputs: Sequence[Sequence[int]]) -> Array:
        """Mean of each input's last states, normalised; shape (inputs, dimensions)."""
        longest = max(len(tokens) for tokens in inputs)
        ids = np.zeros((len(inputs), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = next(iter(self._model({name: given[name] for name in self._inputs}).values()))
        if states.ndim == 3:
            weights = mask[..., None].astype(np.float32)
            states = (states * weights).sum(axis=1) / weights.sum(axis=1)
        unit: Array = states / np.linalg.norm(states, axis=1, keepdims=True)
        return unit


@dataclass
class _Input:
    tokens: Sequence[int]
    vector: "asyncio.Future[Array]"


class Embedder:
    """Shares one encoder between the requests of a server.

    Args:
        encoder: the model.
        texts_per_run: how many inputs at most are computed together. What stands beside an input
            changes its vector in the last bits; alone it is always the same.
    """

    def __init__(self, encoder: Encoder, texts_per_run: int = TEXTS_PER_RUN) -> None:
        self._encoder = encoder
        self._texts_per_run = texts_per_run
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._first: deque[_Input] = deque()
        self._later: deque[_Input] = deque()
        self._running: asyncio.Task[None] | None = None

    async def embed(self, inputs: Sequence[Sequence[int]], *, is_batch: bool) -> list[Array]:
        """The vectors of token ids, in their order."""
        loop = asyncio.get_running_loop()
        wanted = [_Input(tokens, loop.create_future()) for tokens in inputs]
        (self._later if is_batch else self._first).extend(wanted)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        try:
            return list(await asyncio.gather(*(one.vector for one in wanted)))
        finally:
            for one in wanted:
                one.vector.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                vectors = await loop.run_in_executor(
                    self._thread, self._encoder.encode, [one.tokens for one in batch]
                )
            except Exception as error:  # noqa: BLE001 - it is of those whose inputs these are
                for one in batch:
                    if not one.vector.done():
                        one.vector.set_exception(error)
                continue
            for one, vector in zip(batch, vectors, strict=True):
                if not one.vector.done():
                    one.vector.set_result(vector)

    def _next_batch(self) -> list[_Input]:
        """The next inputs to run together: few enough that nobody behind them waits long."""
        batch: list[_Input] = []
        longest = 0
        for queue in (self._first, self._later):
            while queue and len(batch) < self._texts_per_run:
                longest = max(longest, len(queue[0].tokens))
                if batch and longest * (len(batch) + 1) > _TOKENS_PER_RUN:
                    return batch
                one = queue.popleft()
                if not one.vector.done():
                    batch.append(one)
        return batch
