"""All answers to one request, as text: what the stepper says, decoded, stopped and counted."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from linarite.engines.generation import Stepping
from linarite.engines.logprobs import Spoken
from linarite.engines.refusals import EngineUnreachable
from linarite.engines.sampling import Sampling
from linarite.engines.text import TextStream
from linarite.engines.tool_calls import CallPiece, CallReader, joined
from linarite.errors import InferenceRefused


@dataclass(frozen=True)
class TextPiece:
    """What is new of one answer."""

    index: int
    """Which answer."""
    text: str
    reason: str | None = None
    """Why it ended, with its last text."""
    spoken: Sequence[Spoken] = ()
    """The tokens of the text and of the calls, where log-probabilities are wanted."""
    calls: Sequence[CallPiece] = ()
    """What is new of the calls that it makes, after the text."""


class Answers:
    """`n` answers for each prompt, in the order of the prompts.

    Args:
        stepping: what makes the answers.
        tokenizer: the model's.
        prompts: token ids.
        samplings: one for each answer, `n` times as many as prompts.
        stops: strings that end an answer and are not part of it.
        is_batch: whether chats go first.
        readers: what reads the calls of tools out of each answer, where there may be any.
    """

    def __init__(
        self,
        stepping: Stepping,
        tokenizer: Tokenizer,
        prompts: Sequence[Sequence[int]],
        samplings: Sequence[Sampling],
        stops: Sequence[str],
        *,
        is_batch: bool,
        readers: Sequence[CallReader] = (),
    ) -> None:
        self._stepping = stepping
        self._prompts = prompts
        self._samplings = samplings
        self._is_batch = is_batch
        self._readers = readers
        self._streams = [
            TextStream(tokenizer, stops, readers[index].shield if readers else None)
            for index in range(len(samplings))
        ]
        self._logprobs: list[list[float]] = [[] for _ in samplings]
        self._told = [0 for _ in samplings]
        self.count = len(samplings)

    async def pieces(self) -> AsyncGenerator[TextPiece, None]:
        """The texts as they come.

        Raises:
            EngineUnreachable: the engine ended, or its cache is full.
            InferenceRefused: the engine's library objects to the request.
        """
        each = self.count // len(self._prompts)
        wanted = [
            (self._prompts[index // each], sampling)
            for index, sampling in enumerate(self._samplings)
        ]
        left = self.count
        said = self._stepping.answers(wanted, is_batch=self._is_batch)
        async with contextlib.aclosing(said):
            async for index, tokens, ended, logprobs in said:
                stream = self._streams[index]
                if stream.is_stopped:
                    continue
                if ended == "ignored":
                    raise EngineUnreachable("The engine's cache is full; try again.")
                if ended == "refused":
                    raise InferenceRefused("The engine does not take this combination of values.")
                self._logprobs[index] += logprobs
                text = stream.add(tokens)
                if ended is not None:
                    text += stream.end()
                reason: str | None = "stop" if stream.is_stopped else ended
                left -= reason is not None
                calls: Sequence[CallPiece] = ()
                if self._readers:
                    text, calls, reason = self._readers[index].read(text, reason)
                yield TextPiece(index, text, reason, self._newly_told(index), calls)
                if not left:
                    return

    async def whole(self) -> list[TextPiece]:
        """Every answer in one piece."""
        texts: list[list[str]] = [[] for _ in self._streams]
        spoken: list[list[Spoken]] = [[] for _ in self._streams]
        calls: list[list[CallPiece]] = [[] for _ in self._streams]
        reasons = ["stop"] * self.count
        async with contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                texts[piece.index].append(piece.text)
                spoken[piece.index] += piece.spoken
                calls[piece.index] += piece.calls
                reasons[piece.index] = piece.reason or reasons[piece.index]
        return [
            TextPiece(
                index, "".join(texts[index]), reasons[index], spoken[index], joined(calls[index])
            )
            for index in range(self.count)
        ]

    def likeliest(self, pieces: Sequence[TextPiece], count: int) -> list[TextPiece]:
        """The `count` answers of each prompt whose tokens are the likeliest on average."""
        each = self.count // len(self._prompts)
        kept = []
        for first in range(0, self.count, each):
            ranked = sorted(range(first, first + each), key=self._mean_logprob, reverse=True)
            kept += [pieces[index] for index in ranked[:count]]
        return kept

    def usage(self) -> dict[str, int]:
        """Tokens of the prompts and of what was said, the end of an answer included."""
        asked = sum(len(prompt) for prompt in self._prompts)
        said = sum(stream.count for stream in self._streams)
        return {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
        }

    def _mean_logprob(self, index: int) -> float:
        logprobs = self._logprobs[index]
        return sum(logprobs) / len(logprobs)

    def _newly_told(self, index: int) -> list[Spoken]:
        """The tokens whose text is out since the last piece, without the one that ends it."""
        sampling, stream = self._samplings[index], self._streams[index]
        if not sampling.logprobs:
            return []
        before, now = self._told[index], stream.told
        self._told[index] = now
        fresh = zip(stream.tokens[before:now], self._logprobs[index][before:now], strict=True)
        return [spoken for spoken in fresh if spoken[0] not in sampling.eos]
