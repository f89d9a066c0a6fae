"""How long does a chat wait for its first token while a batch runs on the same engine?

Short streamed chats on the embedded model, one after the other, on an idle engine and in the
middle of a batch that fills its slots, in turn.
"""

import argparse
import time
from itertools import count
from pathlib import Path

import openai

from bench import batch_runs, script
from bench.measure import Finding, Limit, compared, percentile
from bench.servers import Linarite, linarite

MODEL = "smollm2-135m-instruct"
_FLOOR_MS = 150
"""Up to here a chat counts as prompt, whatever an idle engine does."""
_TOPICS = ("the sea", "bread", "a telescope", "old trains", "rain", "chess", "bees", "glass")


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """First tokens under load and idle; a new batch for every pair."""
    numbers = count()
    with linarite(folder) as server:
        client = server.sdk()
        _first_token_ms(client, next(numbers))  # starts the engine
        idle, loaded = [], []
        for _ in range(options.pairs):
            idle.append([_first_token_ms(client, next(numbers)) for _ in range(options.chats)])
            loaded.append(_under_batch(server, options, numbers))
    return [
        finding("median", 0.5, idle, loaded),
        finding("p95", 0.95, idle, loaded),
    ]


def finding(name: str, share: float, idle: list[list[float]], loaded: list[list[float]]) -> Finding:
    """Loaded against idle, where an idle engine under half of the floor counts as half of it."""
    pairs = [
        (percentile(busy, share), percentile(quiet, share))
        for busy, quiet in zip(loaded, idle, strict=True)
    ]
    floored = [(busy, max(quiet, _FLOOR_MS / 2)) for busy, quiet in pairs]
    judged = compared("", floored, limit=None, unit="ms")
    shown = compared(
        f"first token while a batch runs against an idle engine (at least {_FLOOR_MS / 2:g} ms), "
        f"{name}",
        pairs,
        limit=Limit(at_most=2),
        unit="ms",
        names=("with a batch", "idle"),
    )
    return Finding(
        shown.what,
        judged.value,
        judged.low,
        judged.high,
        "x",
        shown.limit,
        shown.ours,
        shown.theirs,
    )


def _under_batch(
    server: Linarite, options: argparse.Namespace, numbers: "count[int]"
) -> list[float]:
    """First tokens in the middle of a batch, which is cancelled afterwards."""
    client = server.sdk()
    lines = [
        batch_runs.chat_line(
            f"request-{number}", MODEL, _question(next(numbers)), max_tokens=128, temperature=0
        )
        for number in range(options.lines)
    ]
    with batch_runs.running(client, lines):
        return [_first_token_ms(client, next(numbers)) for _ in range(options.chats)]


def _first_token_ms(client: openai.OpenAI, number: int) -> float:
    began = time.perf_counter()
    with client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": _question(number)}],
        max_tokens=8,
        temperature=0,
        stream=True,
    ) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return (time.perf_counter() - began) * 1e3
    raise RuntimeError("A chat had no token.")


def _question(number: int) -> str:
    """Different in its first words, so that no cached prefix helps."""
    return f"{number}. Tell me something that few people know about {_TOPICS[number % 8]}."


if __name__ == "__main__":
    options = script.parser(__doc__, lines=600, chats=20).parse_args()
    script.run("chat_under_batch", options, measure)
