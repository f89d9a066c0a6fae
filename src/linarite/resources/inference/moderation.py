"""What an OpenAI moderation endpoint says of texts, as Azure's categories and severities.

| Azure's category | OpenAI's categories |
|---|---|
| hate | hate, hate/threatening, harassment, harassment/threatening |
| self_harm | self-harm, self-harm/intent, self-harm/instructions |
| sexual | sexual, sexual/minors |
| violence | violence, violence/graphic, illicit/violent |

The highest score of a category's makes its severity: low from 0.2 on, medium from 0.5, high from
0.8. One that the endpoint itself flags is medium at least. Azure has no word for `illicit`, which
is passed over; `jailbreak`, which OpenAI has no word for, is read where an endpoint has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace
from linarite.engines.refusals import EngineFailure, EngineUnreachable

_REFUSED = frozenset({400, 413, 422})
"""Statuses that are about the texts; others are about the endpoint, or this server's key there."""

CATEGORIES: Mapping[str, Sequence[str]] = {
    "hate": ("hate", "hate/threatening", "harassment", "harassment/threatening"),
    "self_harm": ("self-harm", "self-harm/intent", "self-harm/instructions"),
    "sexual": ("sexual", "sexual/minors"),
    "violence": ("violence", "violence/graphic", "illicit/violent"),
}
SEVERITIES = ("safe", "low", "medium", "high")
_FROM_SCORE = ((0.8, 3), (0.5, 2), (0.2, 1))
_FLAGGED = 2


class NoJudgement(Exception):
    """The endpoint gave none; says why."""


class TextsRefused(Exception):
    """The endpoint does not take these texts, however often it is asked; says why."""


@dataclass(frozen=True)
class Judgement:
    """How severe a text is: an index of `SEVERITIES` for each of Azure's categories."""

    severities: Mapping[str, int]
    jailbreak: bool | None = None
    """None where the endpoint does not look for that."""


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """What there is to say of several texts together."""
    seen = [one.jailbreak for one in judgements if one.jailbreak is not None]
    return Judgement(
        {name: max((one.severities[name] for one in judgements), default=0) for name in CATEGORIES},
        any(seen) if seen else None,
    )


async def judge(
    engines: Engines, place: ModelPlace, texts: Sequence[str], seconds: float
) -> list[Judgement]:
    """What the moderation endpoint at `place` says of each text.

    Args:
        engines: the connections of this event loop.
        place: where the endpoint is.
        texts: what it is asked about; none ask nobody.
        seconds: how long it may be silent.

    Raises:
        NoJudgement: it does not answer, or what it answers is no judgement.
        TextsRefused: it does not take the texts.
    """
    if not texts:
        return []
    body = orjson.dumps({"input": list(texts)})
    try:
        engine = await engines.reach(place)
        try:
            reply = await engine.post("/moderations", body, silence_seconds=seconds)
        except EngineUnreachable as lost:  # also a kept connection that had just been closed
            if isinstance(lost.__cause__, TimeoutError):
                raise
            reply = await engine.post("/moderations", body, silence_seconds=seconds)
    except EngineFailure as failure:
        raise NoJudgement(failure.message) from failure
    if reply.status in _REFUSED:
        raise TextsRefused(f"it answered {reply.status}")
    if reply.status != 200:
        raise NoJudgement(f"it answered {reply.status}")
    try:
        results = orjson.loads(reply.body)["results"]
        judgements = [_judgement(one) for one in results]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise NoJudgement(f"what it answered is no judgement: {error!r}") from error
    if len(judgements) != len(texts):
        raise NoJudgement(f"it judged {len(judgements)} texts where it was asked for {len(texts)}")
    return judgements


def _judgement(result: Mapping[str, Any]) -> Judgement:
    flags, scores = result["categories"], result.get("category_scores") or {}
    jailbreak = flags.get("jailbreak")
    return Judgement(
        {
            name: max(_severity(flags.get(one), scores.get(one)) for one in theirs)
            for name, theirs in CATEGORIES.items()
        },
        None if jailbreak is None else bool(jailbreak),
    )


def _severity(is_flagged: bool | None, score: float | None) -> int:
    by_score = next((level for least, level in _FROM_SCORE if (score or 0) >= least), 0)
    return max(by_score, _FLAGGED if is_flagged else 0)
