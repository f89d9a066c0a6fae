"""A stream that is judged as it comes: events wait until what they say was found harmless.

They wait for a *window* of text, or for the end; then the window is judged together with the one
before it, so that nothing hides at an edge, and its events go on, or are replaced by the one that
ends the answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import orjson

from linarite.engines.refusals import EngineFailure
from linarite.errors import InferenceRefused
from linarite.resources.inference.filtered import RESULTS, Results, event_of, removed, words_of

_DATA = b"data:"
_DONE = b"[DONE]"

Judge = Callable[[Sequence[str]], Awaitable[list[Results]]]
"""Finds what there is to say of each of some texts."""


class Window:
    """The events of one stream.

    Args:
        judge: what judges.
        characters: how many of them are judged at once.
        answers: how many answers the stream has.
    """

    def __init__(self, judge: Judge, characters: int, answers: int) -> None:
        self._judge = judge
        self._characters = characters
        self._answers = answers
        self._held: list[dict[str, Any]] = []
        self._texts: dict[int, str] = {}
        """What waits to be judged, by answer."""
        self._before: dict[int, str] = {}
        """What was judged last."""
        self._finished: set[int] = set()
        self._filtered: set[int] = set()

    async def events(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Server-sent events once they were judged.

        Once every answer has ended, one of them by the filter, the rest is not waited for.

        Raises:
            EngineFailure: an event cannot be read, and so not be judged.
        """
        try:
            async for data in _data(chunks):
                if data == _DONE:
                    break
                event = _read(data)
                if event.get("error"):
                    for one in await self._release():
                        yield one
                    yield event_of(event)
                    continue
                self._hold(event)
                if sum(map(len, self._texts.values())) >= self._characters:
                    for one in await self._release():
                        yield one
                if self._filtered and len(self._filtered | self._finished) >= self._answers:
                    break
            for one in await self._release():
                yield one
        except InferenceRefused as refused:  # it cannot be judged, and what waits is lost
            yield event_of(refused.body)
            return
        yield _DATA + b" " + _DONE + b"\n\n"

    def _hold(self, event: dict[str, Any]) -> None:
        choices = event.get("choices") or []
        going_on = [choice for choice in choices if choice["index"] not in self._filtered]
        if choices and not going_on:
            return
        for choice in going_on:
            index, text = choice["index"], "".join(words_of(choice))
            if text:
                self._texts[index] = self._texts.get(index, "") + text
            if choice.get("finish_reason") is not None:
                self._finished.add(index)
        self._held.append({**event, "choices": going_on})

    async def _release(self) -> list[bytes]:
        """What may leave of the events that wait."""
        waiting = {index: text for index, text in self._texts.items() if text}
        texts = [self._before.get(index, "") + text for index, text in waiting.items()]
        found = dict(zip(waiting, await self._judge(texts), strict=True)) if texts else {}
        held, self._held, self._texts = self._held, [], {}
        for index, text in zip(waiting, texts, strict=True):
            self._before[index] = text[-self._characters :]
        ended = [index for index, results in found.items() if results.is_filtered]
        self._filtered.update(ended)
        out = [event_of(event) for event in _shown(held, found)]
        for index in ended:
            out.append(event_of(_ending(held[-1], index, found[index])))
        return out


def _shown(held: Sequence[dict[str, Any]], found: dict[int, Results]) -> Iterator[dict[str, Any]]:
    """The events as they leave, each with what was found of its texts."""
    for event in held:
        choices = []
        for choice in event["choices"]:
            results = found.get(choice["index"], Results({}))
            if any(words_of(choice)):
                if not results.is_filtered:
                    choices.append({**choice, RESULTS: results.told})
            elif not results.is_filtered or _only_begins(choice):
                choices.append({**choice, RESULTS: {}})
        if choices or not event["choices"]:
            yield {**event, "choices": choices}


def _only_begins(choice: dict[str, Any]) -> bool:
    """Whether it says who speaks, and no more."""
    delta = choice.get("delta") or {}
    is_more = any(value for name, value in delta.items() if name != "role")
    ends = choice.get("finish_reason") is not None
    return "role" in delta and not (is_more or ends or choice.get("logprobs"))


def _ending(event: dict[str, Any], index: int, results: Results) -> dict[str, Any]:
    is_chat = event.get("object") != "text_completion"
    said: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
    head = {name: value for name, value in event.items() if name != "usage"}
    return {**head, "choices": [removed(index, said, results)]}


async def _data(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What the events say; what else an engine sends between them says nothing."""
    rest = b""
    async for chunk in chunks:
        whole, _, rest = (rest + chunk).rpartition(b"\n")
        for line in whole.split(b"\n"):
            if line.startswith(_DATA) and (data := line[len(_DATA) :].strip()):
                yield data
    if rest.startswith(_DATA) and (data := rest[len(_DATA) :].strip()):
        yield data


def _read(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
        for choice in event.get("choices") or ():
            if type(choice["index"]) is not int or not isinstance(choice.get("delta") or {}, dict):
                raise TypeError("a choice has no number, or says nothing that is known")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise EngineFailure(f"an event of a stream cannot be judged: {error}") from error
    return dict(event)
