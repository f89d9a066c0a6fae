"""The one place that calls openvino-genai: a pipeline that takes token ids and gives token ids.

It knows neither text nor requests. `step` holds the interpreter's lock while it runs; that is why
its process does nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from linarite.engines import adapters
from linarite.engines.rehearsal import Rehearsal
from linarite.engines.sampling import Ended, Piece, Sampling, Structure
from linarite.engines.vocabulary import tokenizer

_WIDE_STEP_TOKENS = 192
_NARROW_STEP_TOKENS = 64
_LEAST_TEMPERATURE = 1e-3


class Handle:
    """One answer in the making."""

    def __init__(self, inner: Any, *, has_logprobs: bool = False) -> None:
        self._inner = inner
        self._has_logprobs = has_logprobs

    def read(self) -> Piece:
        """The new tokens, and how it ended if it did."""
        tokens: list[int] = []
        logprobs: list[float] = []
        ended: Ended | None = None
        while self._inner.can_read():
            for output in self._inner.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs
                if output.finish_reason == openvino_genai.GenerationFinishReason.STOP:
                    ended = "stop"
                elif output.finish_reason == openvino_genai.GenerationFinishReason.LENGTH:
                    ended = "length"
        if ended is None and self._inner.get_status() == openvino_genai.GenerationStatus.IGNORED:
            ended = "ignored"
        return Piece(tokens, ended, logprobs if self._has_logprobs else [])

    def cancel(self) -> None:
        """Give its place back at the next step; what it computed stays in the prefix cache."""
        self._inner.cancel()


class Pipeline:
    """A loaded model that answers many requests at once, a token each per step."""

    def __init__(self, inner: Any, rehearsal: Rehearsal | None = None) -> None:
        self._inner = inner
        self._rehearsal = rehearsal
        self._next = 0

    @classmethod
    def load(
        cls,
        ir_folder: Path,
        *,
        slots: int,
        cache_bytes: int,
        words: Sequence[bytes] | None = None,
        adapter: Path | None = None,
        shares_prefixes: bool = True,
    ) -> "Pipeline":
        """Load a model's IR for up to `slots` answers at once, changed by a PEFT folder's adapter.

        `words` says what each token writes; without it no sampling may name a structure. With
        `shares_prefixes` what was computed for one prompt serves others that begin alike.

        A step computes at most the slots' tokens plus a piece of a prompt: 192 tokens where the
        processor multiplies 16-bit numbers, 64 where it does not, so that a long prompt does not
        hold up the answers that stream.
        """
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = max(1, round(cache_bytes / (1 << 30)))
        scheduler.max_num_seqs = slots
        scheduler.max_num_batched_tokens = slots + prompt_tokens_per_step()
        scheduler.enable_prefix_caching = shares_prefixes
        scheduler.dynamic_split_fuse = True
        more = {} if adapter is None else {"adapters": _fused(adapter)}
        make = openvino_genai.ContinuousBatchingPipeline
        if words is None:
            return cls(make(str(ir_folder), scheduler, "CPU", properties=more))
        knowing = tokenizer(words)
        inner = make(str(ir_folder), knowing, scheduler, "CPU", **more)
        return cls(inner, Rehearsal(knowing, len(words)))

    def add(self, prompt: Sequence[int], sampling: Sampling) -> Handle:
        """Queue one answer to a prompt of token ids."""
        self._next += 1
        ids = openvino.Tensor(np.array([prompt], dtype=np.int64))
        inner = self._inner.add_request(self._next, ids, _config(sampling))
        return Handle(inner, has_logprobs=sampling.logprobs)

    def prepare(self, structure: Structure) -> None:
        """Compile a structure, so that no step has to; steps may be made meanwhile.

        Raises:
            RuntimeError: the library cannot follow it, or was not told the words.
        """
        if self._rehearsal is None:
            raise RuntimeError("Nothing can be held to a structure here.")
        self._rehearsal.follow(structure, 1)

    def is_busy(self) -> bool:
        """Whether any answer is in the making."""
        return bool(self._inner.has_non_finished_requests())

    def step(self) -> None:
        """Compute one token of every answer, or a piece of a prompt."""
        self._inner.step()


def prompt_tokens_per_step() -> int:
    """How many tokens of prompts one step takes beside the answers'."""
    return _WIDE_STEP_TOKENS if "BF16" in processor() else _NARROW_STEP_TOKENS


def processor() -> list[str]:
    """The kinds of numbers that this machine's processor computes with, by the library's names."""
    return sorted(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _fused(adapter: Path) -> Any:
    """An adapter that becomes part of the weights: it costs nothing per token."""
    weights = openvino_genai.Adapter(str(adapter / adapters.WEIGHTS_FILE))
    mode = openvino_genai.AdapterConfig.Mode.MODE_FUSE
    return openvino_genai.AdapterConfig(weights, adapters.scale(adapter), mode)


def _config(sampling: Sampling) -> Any:
    config = openvino_genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = sampling.max_tokens
    config.ignore_eos = sampling.ignore_eos
    ends = sampling.eos or (0,)  # the library wants one, also where it is ignored
    config.eos_token_id = ends[0]
    config.stop_token_ids = set(ends)
    # The library takes no top_p of 0 and goes astray near a temperature of 0: both mean greedy.
    config.do_sample = sampling.temperature >= _LEAST_TEMPERATURE and sampling.top_p > 0
    if config.do_sample:
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        config.top_k = 0
        config.rng_seed = sampling.seed
    config.logprobs = int(sampling.logprobs)
    config.presence_penalty = sampling.presence_penalty
    config.frequency_penalty = sampling.frequency_penalty
    if sampling.structure is not None:
        form = {sampling.structure.kind: sampling.structure.text}
        config.structured_output_config = openvino_genai.StructuredOutputConfig(**form)
    return config
