"""Rate limits: what a deployment may be asked for in a minute, whoever asks and in which process.

As at the service, tokens are estimated when a request comes (its prompt, and the longest answers
that it allows) and the estimate stands. A minute begins with the first request that is counted.
What is refused is not counted, and batches are not. A deployment without limits costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from linarite.engines.sampling import DEFAULT_CHAT_TOKENS, DEFAULT_COMPLETION_TOKENS
from linarite.engines.tokens import Tokens
from linarite.errors import RateLimited
from linarite.http.metrics import Metrics
from linarite.resources.deployments.records import DeploymentRecord, RateWindow, Target
from linarite.resources.deployments.service import Deployments
from linarite.resources.inference.counting import PlaceOf, answer_tokens, prompt_tokens

_NEVER_SECONDS = 86_400
"""When to come back with what no minute has room for, in the service's words."""
_REMEMBERED = 10_000
"""How many deployments' counts are remembered: what is forgotten costs a statement more."""
_UNNAMED = {
    "/chat/completions": DEFAULT_CHAT_TOKENS,
    "/completions": DEFAULT_COMPLETION_TOKENS,
    "/embeddings": 0,
}
"""The longest answer of a request that names none."""
_WORDS = {"requests": "call", "tokens": "token"}


@dataclass(frozen=True)
class RateLimits:
    """Lets requests in, as many as their deployment answers.

    Args:
        deployments: where requests are counted.
        place_of: where a model is.
        metrics: where refusals are counted.
        tokens: counts prompts.
    """

    deployments: Deployments
    place_of: PlaceOf
    metrics: Metrics
    tokens: Tokens
    _seen: dict[tuple[str, str], RateWindow] = field(default_factory=dict)
    """The last count of each deployment: in its minute there can only be more."""

    async def admit(
        self, operation: str, name: str, version: str, target: Target, body: Mapping[str, Any]
    ) -> dict[str, str]:
        """Count a request against its deployment's limits.

        Args:
            operation: what is asked, such as ``/chat/completions``.
            name: the service's name of that, such as ``ChatCompletions_Create``.
            version: the API version it is asked by.
            target: who is asked; it has limits.
            body: the request, which was found valid.

        Returns:
            The headers that tell the caller what is left.

        Raises:
            RateLimited: a limit is reached.
        """
        deployment = target.deployment
        tokens, window, full = await run_in_threadpool(self._count, operation, target, body)
        now = self.deployments.clock.now()
        headers = _headers(deployment, window, now)
        if full is None:
            return headers
        self.metrics.rate_limited.labels(name, full).inc()
        limit = getattr(deployment, f"{full}_per_minute")
        wait, hint = window.seconds_left(now), ""
        if full == "tokens" and tokens > limit:
            wait, hint = _NEVER_SECONDS, f" and this request may come to {tokens} of them"
            headers["x-should-retry"] = "false"
        headers |= {"retry-after": str(wait), "retry-after-ms": str(wait * 1000)}
        raise RateLimited(
            f"Requests to the {name} Operation under Azure OpenAI API version {version} have "
            f"exceeded {_WORDS[full]} rate limit of your current OpenAI S0 pricing tier. Please "
            f"retry after {wait} second{'' if wait == 1 else 's'}. The deployment's "
            f"`{full}_per_minute` is {limit}{hint}.",
            headers=headers,
        )

    async def grow(
        self, operation: str, target: Target, body: Mapping[str, Any], grown: Mapping[str, Any]
    ) -> dict[str, str]:
        """Count what a prompt has grown by since its request was let in, whatever is left.

        Args:
            operation: what is asked.
            target: who is asked.
            body: the request as it came.
            grown: the same as it is answered.

        Returns:
            The headers that change by it.
        """
        deployment = target.deployment
        if deployment.tokens_per_minute is None:
            return {}
        return await run_in_threadpool(self._grow, operation, target, body, grown)

    def _grow(
        self, operation: str, target: Target, body: Mapping[str, Any], grown: Mapping[str, Any]
    ) -> dict[str, str]:
        place = self.place_of(target.model)
        was, tokens = (prompt_tokens(self.tokens, place, operation, it) for it in (body, grown))
        window = self.deployments.spend_more(target.deployment, max(0, tokens - was))
        if window is None:
            return {}
        self._seen[target.deployment.resource, target.deployment.id] = window
        return _headers(target.deployment, window, self.deployments.clock.now())

    def _count(
        self, operation: str, target: Target, body: Mapping[str, Any]
    ) -> tuple[int, RateWindow, str | None]:
        """The tokens that it may come to, the minute it is in, and the limit that it is over."""
        deployment, tokens = target.deployment, 0
        key = (deployment.resource, deployment.id)
        now = self.deployments.clock.now()
        seen = self._seen.get(key)
        if seen is None or seen.is_over(now) or seen.began_at < deployment.created_at:
            seen = RateWindow(now, 0, 0)
        full = _full(deployment, seen, 0)
        if full is None and deployment.tokens_per_minute is not None:
            place = self.place_of(target.model)
            tokens = prompt_tokens(self.tokens, place, operation, body)
            tokens += answer_tokens(operation, body, _UNNAMED[operation])
            full = _full(deployment, seen, tokens)
        if full is not None:  # what the database would say too
            return tokens, seen, full
        window, is_counted = self.deployments.spend(deployment, tokens)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = window
        return tokens, window, None if is_counted else _full(deployment, window, tokens)


def _full(deployment: DeploymentRecord, window: RateWindow, tokens: int) -> str | None:
    """Which limit one more request of so many tokens is over, if any."""
    most_requests, most_tokens = deployment.requests_per_minute, deployment.tokens_per_minute
    if most_requests is not None and window.requests >= most_requests:
        return "requests"
    if most_tokens is not None and window.tokens + tokens > most_tokens:
        return "tokens"
    return None


def _headers(deployment: DeploymentRecord, window: RateWindow, now: int) -> dict[str, str]:
    told: dict[str, str] = {}
    for name in ("requests", "tokens"):
        limit = getattr(deployment, f"{name}_per_minute")
        if limit is not None:
            told[f"x-ratelimit-limit-{name}"] = str(limit)
            told[f"x-ratelimit-remaining-{name}"] = str(max(limit - getattr(window, name), 0))
            told[f"x-ratelimit-reset-{name}"] = str(window.seconds_left(now))
    return told
