"""What does running a batch cost beside the engine?

10,000 chats on an engine that costs nothing: our server, from the call that asks for the batch to
the answer that says completed, against an ideal client straight to the same engine, which keeps
nothing; and against AIBrix and OGX in lines per second, on fewer lines, since they take minutes
for as many.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from bench import batch_runs, ideal_client, peers, script
from bench.measure import Finding, Limit, compared, in_turn
from bench.processes import paused, scripted_engine
from bench.servers import linarite, upstream_model

_IN_FLIGHT = 64
"""Where the ideal client is fastest on an engine that costs nothing."""

_IDEAL = "an ideal aiohttp client"
_LIMITS = {
    _IDEAL: Limit(at_least=0.5),
    "AIBrix 0.8.0": Limit(at_least=20),
    "OGX 1.5.0": Limit(at_least=20),
}


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Our server, the ideal client and the peers in turn; peers are paused when not measured."""
    with ExitStack() as stack:
        engine = stack.enter_context(scripted_engine(folder))
        ours = stack.enter_context(linarite(folder / "ours", upstream_model("scripted", engine)))
        others = [
            stack.enter_context(peers.aibrix(folder)),
            stack.enter_context(peers.ogx(folder, engine, is_tuned=False)),
            stack.enter_context(peers.ogx(folder, engine, is_tuned=True)),
        ]
        lines = batch_runs.chat_lines("scripted", options.lines)

        def our_rate() -> float:
            return len(lines) / batch_runs.run(ours.sdk(), lines).seconds

        def ideal_rate() -> float:
            url, output = f"{engine}/chat/completions", folder / "ideal.jsonl"
            return len(lines) / ideal_client.run(url, lines, output, in_flight=_IN_FLIGHT)

        def peer_rate(peer: peers.Peer) -> float:
            few = batch_runs.chat_lines(peer.model, options.peer_lines)
            with paused(*(other.process for other in others if other is not peer)):
                return len(few) / batch_runs.run(peer.sdk(), few).seconds

        measured: dict[str, list[tuple[float, float]]] = {}
        for turn in range(options.pairs):
            with paused(*(other.process for other in others)):
                pair = in_turn(our_rate, ideal_rate, turn)
            measured.setdefault(_IDEAL, []).append(pair)
            for peer in others:
                measured.setdefault(peer.name, []).append((pair[0], peer_rate(peer)))
            newest = ", ".join(f"{name} {pairs[-1][1]:,.0f}" for name, pairs in measured.items())
            print(f"   {turn + 1}: Linarite {pair[0]:,.0f}, {newest} lines/s", flush=True)
    return [
        compared(
            f"batch of {options.lines:,} lines on a zero-cost engine against {name}",
            pairs,
            limit=_LIMITS.get(name),
            unit="lines/s",
            names=("Linarite", name),
        )
        for name, pairs in measured.items()
    ]


if __name__ == "__main__":
    options = script.parser(__doc__, lines=10_000, peer_lines=500).parse_args()
    script.run("batch_control_plane", options, measure)
