"""The content filter: prompts are judged before an engine is asked, answers before they leave.

What it tells and refuses has Azure's form. Nothing that was not judged leaves; while the endpoint
that judges is away, nothing does, unless the settings let it pass.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from linarite.engines.client import Engines, Reply, StreamReply
from linarite.engines.place import ModelPlace
from linarite.errors import InferenceRefused
from linarite.http.metrics import Metrics
from linarite.resources.inference.answers import failure
from linarite.resources.inference.filtered import FILTERED, Results, event_of, shown, words_of
from linarite.resources.inference.moderation import (
    CATEGORIES,
    SEVERITIES,
    Judgement,
    NoJudgement,
    TextsRefused,
    judge,
    worst,
)
from linarite.resources.inference.service import CHAT, REQUESTS
from linarite.resources.inference.windows import Window
from linarite.settings import ContentFilterSettings, Upstream

_MESSAGE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management "
    "policy. Please modify your prompt and retry. To learn more about our content filtering "
    "policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766"
)
_NOT_FILTERED: Mapping[str, Any] = {
    "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
}
_READ_BESIDE = frozenset({"tools", "response_format", "suffix"})
"""Declared parameters that models read besides the prompt; who knows what they do with others."""
_SILENT = frozenset({"role", "type"})
"""Fields of a message that hold one of a few known words."""

Events = Callable[[StreamReply], AsyncIterator[bytes]]
log = structlog.get_logger()


class FilterUnavailable(InferenceRefused):
    """The moderation endpoint does not answer, and nothing is to pass without it."""

    def __init__(self) -> None:
        super().__init__(
            "The content filter of this server does not answer, and nothing passes without it; "
            "try again.",
            status=503,
            kind="server_error",
            code="serviceUnavailable",
            headers={"retry-after": "1"},
        )


@dataclass(frozen=True)
class ContentFilter:
    """Judges what passes this server, by one moderation endpoint.

    Args:
        settings: where it is, and what is filtered.
        metrics: where checks are counted.
    """

    settings: ContentFilterSettings
    metrics: Metrics

    async def check(
        self, engines: Engines, subject: str, groups: Sequence[Sequence[str]]
    ) -> list[Results]:
        """What is to be told of each group of texts, and whether it must not pass.

        Args:
            engines: the connections of this event loop.
            subject: ``prompt`` or ``answer``.
            groups: texts that are judged together.

        Raises:
            FilterUnavailable: the endpoint does not answer.
            InferenceRefused: it does not take these texts, so that nobody will ever judge them.
        """
        texts = [text for group in groups for text in group]
        try:
            judged = iter(await judge(engines, self._place, texts, self.settings.seconds))
        except TextsRefused as reason:
            log.error("the content filter does not take a text", reason=str(reason))
            self.metrics.content_filter.labels(subject, "unjudged").inc(len(groups))
            raise _unjudgeable(subject) from reason
        except NoJudgement as reason:
            log.error("the content filter does not answer", reason=str(reason))
            self.metrics.content_filter.labels(subject, "unjudged").inc(len(groups))
            if self.settings.when_away == "refuse":
                raise FilterUnavailable from reason
            return [Results(_NOT_FILTERED) for _ in groups]
        found = [self._results(worst([next(judged) for _ in group]), subject) for group in groups]
        for one in found:
            outcome = "filtered" if one.is_filtered else "passed"
            self.metrics.content_filter.labels(subject, outcome).inc()
        return found

    @property
    def _place(self) -> ModelPlace:
        given = self.settings
        upstream = Upstream(
            base_url=given.base_url, model=given.model, api_key_env=given.api_key_env
        )
        return ModelPlace("content-filter", upstream=upstream)

    def _results(self, judgement: Judgement, subject: str) -> Results:
        limit = self.settings.filtered_from
        least = len(SEVERITIES) if limit == "never" else SEVERITIES.index(limit)
        told: dict[str, Any] = {
            name: {
                "filtered": judgement.severities[name] >= least,
                "severity": SEVERITIES[judgement.severities[name]],
            }
            for name in CATEGORIES
        }
        if subject == "prompt" and judgement.jailbreak is not None:
            is_filtered = judgement.jailbreak and limit != "never"
            told["jailbreak"] = {"filtered": is_filtered, "detected": judgement.jailbreak}
        return Results(told, any(one["filtered"] for one in told.values()))


class Filtering:
    """The filter of one request.

    Args:
        content_filter: what judges.
        engines: the connections of this event loop.
        operation: what is asked: chat or completions.
        body: the request, which was found valid.
    """

    def __init__(
        self,
        content_filter: ContentFilter,
        engines: Engines,
        operation: str,
        body: Mapping[str, Any],
    ) -> None:
        self._filter = content_filter
        self._engines = engines
        self._operation = operation
        self._body = body
        self._prompt_results: list[dict[str, Any]] = []

    async def check_prompt(self) -> None:
        """Judge what the model would be asked.

        Raises:
            InferenceRefused: it must not be asked that, or it cannot be judged.
        """
        prompts = _prompts(self._operation, self._body)
        found = await self._filter.check(self._engines, "prompt", prompts)
        for results in found:
            if results.is_filtered:
                inner = {"code": "ResponsibleAIPolicyViolation"}
                raise InferenceRefused(
                    _MESSAGE,
                    code=FILTERED,
                    param="prompt",
                    kind=None,
                    more={
                        "status": 400,
                        "innererror": inner | {"content_filter_result": results.told},
                    },
                )
        self._prompt_results = [
            {"prompt_index": index, "content_filter_results": results.told}
            for index, results in enumerate(found)
        ]

    async def checked(self, answer: Reply) -> Reply:
        """A whole answer as it may leave: what is filtered of it is gone.

        Raises:
            FilterUnavailable: it cannot be judged.
        """
        said = orjson.loads(answer.body)
        choices = said.get("choices")
        are_known = isinstance(choices, list) and all(map(_is_choice, choices))
        if not are_known:
            raise failure("The engine of this model answered something that is no answer.", 502)
        texts = ["\n".join(filter(None, words_of(choice))) for choice in choices]
        found = iter(await self._judge([text for text in texts if text]))
        said["choices"] = [
            shown(choice, next(found) if text else Results({}))
            for choice, text in zip(choices, texts, strict=True)
        ]
        body = orjson.dumps(said | {"prompt_filter_results": self._prompt_results})
        headers = {
            name: value for name, value in answer.headers.items() if name != "content-length"
        }
        return Reply(answer.status, headers, body)

    def around(self, events: Events) -> Events:
        """What makes the events that callers get, of a stream that is judged as it comes.

        Args:
            events: what makes them of a stream that was judged.
        """

        async def filtered(reply: StreamReply) -> AsyncIterator[bytes]:
            head = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
            yield event_of(head | {"prompt_filter_results": self._prompt_results})
            window = Window(self._judge, self._filter.settings.window_characters, self._answers)
            async for chunk in events(replace(reply, chunks=window.events(reply.chunks))):
                yield chunk

        return filtered

    @property
    def _answers(self) -> int:
        """How many answers there will be."""
        return len(self._prompt_results) * (self._body.get("n") or 1)

    async def _judge(self, texts: Sequence[str]) -> list[Results]:
        return await self._filter.check(self._engines, "answer", [[text] for text in texts])


def _is_choice(said: Any) -> bool:
    return isinstance(said, dict) and "index" in said


def _unjudgeable(subject: str) -> InferenceRefused:
    return InferenceRefused(
        f"The content filter of this server cannot judge this {subject}, and nothing passes "
        "unjudged; it may be too long for it.",
        param="prompt" if subject == "prompt" else None,
        code="content_filter_error",
    )


def _prompts(operation: str, body: Mapping[str, Any]) -> list[list[str]]:
    """The texts of each prompt.

    Raises:
        InferenceRefused: a prompt is token ids, which nobody can judge.
    """
    beside = list(_beside(operation, body))
    if operation == CHAT:
        texts = ["\n".join(words_of(message, _SILENT)) for message in body["messages"]]
        return [[text for text in (*texts, *beside) if text]]
    given = body["prompt"]
    prompts = [given] if isinstance(given, str) else given
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise InferenceRefused(
            "This server's content filter judges text; send the prompt as text, not as token ids.",
            param="prompt",
            code="unsupported_parameter",
        )
    return [[text for text in (prompt, *beside) if text] for prompt in prompts]


def _beside(operation: str, body: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a request besides its prompt: whatever an engine may show to its model."""
    unread = REQUESTS[operation].model_fields.keys() - _READ_BESIDE
    for name, value in body.items():
        if name in unread:
            continue
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict) and value:
            yield orjson.dumps(value).decode()
