"""What does a server cost that stands between a client and an engine?

The engine that costs nothing is asked straight, through Linarite and through LiteLLM's proxy, in
turn: whole chats and streams of 200 tokens as fast as they come, by one caller and by 32; then 32
streams at the pace of a real engine, for the processor's time and for how soon the first byte
passes.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import script
from bench.chat_client import Asked, Way, ask
from bench.measure import Finding, Limit, compared, percentile, quantity
from bench.peers import Peer, litellm
from bench.processes import Process, child_named, paused, scripted_engine
from bench.servers import Linarite, linarite, upstream_model

_MANY = 32
_TOKENS, _PACED_TOKENS, _PACE_MS = 200, 50, 20
_TEXT = "What does it cost to stand in between?"
_LITTLE_MS, _LITTLE_US = Limit(at_most=1), Limit(at_most=20)
_AHEAD = Limit(at_least=5)
_NEAR = Limit(at_least=0.8)
_SOON = Limit(at_most=5)


@dataclass(frozen=True)
class Between:
    """A server that stands in between.

    Args:
        way: through it.
        process: what is paused while others are measured.
        pid: of the process that passes chats on.
    """

    way: Way
    process: Process
    pid: int


@dataclass(frozen=True)
class Turn:
    """The same chats asked in each way, one way after the other."""

    straight: Asked
    ours: Asked
    theirs: Asked

    def added(self, number: Callable[[Asked], float]) -> tuple[float, float]:
        """How much more `number` is through the peer, and through Linarite, than straight."""
        least = number(self.straight)
        return number(self.theirs) - least, number(self.ours) - least


@dataclass(frozen=True)
class Ways:
    """The three ways, asked in turn."""

    straight: Way
    ours: Between
    theirs: Between

    def turns(self, pairs: int, asking: Callable[[Way], Asked]) -> list[Turn]:
        """Ask so many times in each way, another first each time; who is not asked is paused."""
        found = []
        for turn in range(pairs):
            ways = [self.straight, self.ours.way, self.theirs.way]
            order = ways[turn % 3 :] + ways[: turn % 3]
            asked = {way.name: self._alone(way, asking) for way in order}
            found.append(Turn(*(asked[way.name] for way in ways)))
        return found

    def _alone(self, way: Way, asking: Callable[[Way], Asked]) -> Asked:
        others = [each.process for each in (self.ours, self.theirs) if each.way != way]
        with paused(*others):
            return asking(way)


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Chats and streams, one at a time and many, and streams at a pace."""
    with (
        scripted_engine(folder) as engine_url,
        linarite(folder / "linarite", upstream_model("scripted", engine_url)) as server,
        litellm(folder / "litellm", engine_url) as peer,
    ):
        straight = Way("the engine", f"{engine_url}/chat/completions", {}, "scripted")
        ways = Ways(straight, _ours(server), _theirs(peer))
        return [
            *_chats(ways, options, 1, options.chats),
            *_chats(ways, options, _MANY, options.chats * 2),
            *_streams(ways, options),
            *_paced(ways, options),
        ]


def _chats(ways: Ways, options: argparse.Namespace, at_once: int, count: int) -> list[Finding]:
    turns = ways.turns(options.pairs, lambda way: ask(way, _TEXT, count, at_once=at_once))
    what = f"a chat, {at_once} at once"
    return _added(what, turns, _milliseconds_each, ways, "ms", _LITTLE_MS)


def _streams(ways: Ways, options: argparse.Namespace) -> list[Finding]:
    """One caller's streams, and 32 at once.

    There a server may be faster than going straight, since it passes several tokens in one piece:
    what is compared is how many come in a second.
    """
    text = f"[[say {_words(_TOKENS)}]]"

    def asking(way: Way, count: int, at_once: int) -> Asked:
        return ask(way, text, count, at_once=at_once, stream=True)

    single = ways.turns(options.pairs, lambda way: asking(way, options.streams, 1))
    many = ways.turns(options.pairs, lambda way: asking(way, options.streams * 2, _MANY))
    what = "tokens as fast as they come"
    return [
        *_added(f"{what}, 1 at once", single, _microseconds_a_token, ways, "µs", _LITTLE_US),
        first_byte("one stream after the other", single),
        compared(
            f"{what}, {_MANY} at once, against going straight",
            [(_tokens_a_second(turn.ours), _tokens_a_second(turn.straight)) for turn in many],
            limit=_NEAR,
            unit="tokens/s",
            names=("Linarite", "straight"),
        ),
        compared(
            f"{what}, {_MANY} at once, against {ways.theirs.way.name}",
            [(_tokens_a_second(turn.ours), _tokens_a_second(turn.theirs)) for turn in many],
            limit=_AHEAD,
            unit="tokens/s",
            names=("Linarite", ways.theirs.way.name),
        ),
    ]


def _paced(ways: Ways, options: argparse.Namespace) -> list[Finding]:
    """Streams as a real engine makes them, a token at a time."""
    text = f"[[say {_words(_PACED_TOKENS)}]] [[pace {_PACE_MS}]]"
    seconds = _PACED_TOKENS * _PACE_MS / 1e3
    what = f"{_MANY} streams, a token each {_PACE_MS} ms"

    def asking(way: Way) -> Asked:
        return ask(way, text, 2 * _MANY, at_once=_MANY, stream=True, spread_seconds=seconds)

    turns: list[Turn] = []
    spent: list[tuple[float, float]] = []
    for _ in range(options.pairs):
        before = [_seconds_of(each.pid) for each in (ways.theirs, ways.ours)]
        turns += ways.turns(1, asking)
        after = [_seconds_of(each.pid) for each in (ways.theirs, ways.ours)]
        tokens = 3 * _MANY * _PACED_TOKENS  # with those that opened the connections
        theirs, ours = ((late - early) / tokens for early, late in zip(before, after, strict=True))
        spent.append((theirs * 1e6, ours * 1e6))
    return [
        first_byte(what, turns),
        compared(
            f"{what}: processor time a token, {ways.theirs.way.name} over Linarite",
            spent,
            limit=_AHEAD,
            unit="µs",
            names=(ways.theirs.way.name, "Linarite"),
        ),
    ]


def _added(
    what: str,
    turns: Sequence[Turn],
    number: Callable[[Asked], float],
    ways: Ways,
    unit: str,
    limit: Limit,
) -> list[Finding]:
    """What Linarite adds to going straight, and how many times that the peer adds."""
    added = [turn.added(number) for turn in turns]
    straight = statistics.median(number(turn.straight) for turn in turns)
    return [
        quantity(
            f"{what}: added by Linarite",
            [ours for _, ours in added],
            unit=unit,
            limit=limit,
            note=f"straight {straight:.3g} {unit}",
        ),
        compared(
            f"{what}: added by {ways.theirs.way.name} over added by Linarite",
            added,
            limit=_AHEAD,
            unit=unit,
            names=(ways.theirs.way.name, "Linarite"),
        ),
    ]


def first_byte(what: str, turns: Sequence[Turn]) -> Finding:
    """How much later the slowest first bytes come than the usual ones of the engine."""

    def late(asked: Asked, turn: Turn) -> float:
        usual = statistics.median(turn.straight.first_bytes)
        return (percentile(asked.first_bytes, 0.95) - usual) * 1e3

    theirs = statistics.median(late(turn.theirs, turn) for turn in turns)
    return quantity(
        f"{what}: first byte through Linarite (p95) after the engine's (median)",
        [late(turn.ours, turn) for turn in turns],
        unit="ms",
        limit=_SOON,
        note=f"through LiteLLM {theirs:.3g} ms",
    )


def _words(count: int) -> str:
    """Different ones: LiteLLM breaks off a stream that repeats itself."""
    return " ".join(f"word{number}" for number in range(count))


def _milliseconds_each(asked: Asked) -> float:
    return asked.in_all * 1e3 / asked.chats


def _microseconds_a_token(asked: Asked) -> float:
    return 1e6 / _tokens_a_second(asked)


def _tokens_a_second(asked: Asked) -> float:
    return asked.chats * _TOKENS / asked.in_all


def _seconds_of(pid: int) -> float:
    """Processor seconds of a process since it began."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _ours(server: Linarite) -> Between:
    url = server.endpoint + server.path("/deployments/scripted/chat/completions")
    way = Way("Linarite", url, {"api-key": server.api_key}, "scripted")
    return Between(way, server.process, child_named(server.process, "linarite-api"))


def _theirs(peer: Peer) -> Between:
    headers = {"authorization": f"Bearer {peer.api_key}"}
    way = Way(peer.name, f"{peer.base_url}/chat/completions", headers, peer.model)
    return Between(way, peer.process, peer.process.pid)


if __name__ == "__main__":
    options = script.parser(__doc__, chats=300, streams=48).parse_args()
    script.run("proxy_overhead", options, measure)
