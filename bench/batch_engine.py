"""What does a batch on the embedded engine lose against asking that engine directly?

Chats of which half share a system prompt of some 70 tokens, 32 to 96 tokens an answer, so that
answers end one by one and not all together: our batch, from the call that asks for it to the
answer that says completed, in tokens per second, against an ideal client straight to the same
engine's socket, and against openvino-genai called in-process on the same chats. Every run asks new
chats, so that no cache knows them; the first of each is not counted, as it fills memory.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench import batch_runs, ideal_client, script
from bench.measure import Finding, Limit, compared, in_turn
from bench.servers import MODELS, linarite
from linarite.engines import place
from linarite.engines.installed import folder_of

MODEL = "smollm2-135m-instruct"
_SLOTS = 64
_RULES = "You answer questions of travellers about the places that they are going to see. " * 4
_ANSWER_TOKENS = (64, 32, 96, 48, 80)
_TOPICS = ("a bridge", "an old mill", "the harbour", "a night train", "the market", "a glacier")

Lines = Sequence[bytes]


@dataclass(frozen=True)
class InProcess:
    """The process that calls openvino-genai."""

    process: subprocess.Popen[str]
    file: Path

    def rate(self, lines: Lines) -> float:
        """Tokens per second of answering all lines at once."""
        self.file.write_bytes(b"\n".join(lines) + b"\n")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{self.file}\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return float(told["tokens"] / told["seconds"])


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Our batch in turn with each of the two."""
    numbers = count()
    with ExitStack() as stack:
        server = stack.enter_context(linarite(folder))
        genai = stack.enter_context(_in_process(folder))
        client = server.sdk()

        def new_lines() -> Lines:
            return _lines(next(numbers), options.lines)

        def our_rate() -> float:
            done = batch_runs.run(client, new_lines(), look_seconds=1.0)
            return _tokens(done.answers) / done.seconds

        def ideal_rate() -> float:
            output = folder / "ideal.jsonl"
            seconds = ideal_client.run(
                "http://engine/v1/chat/completions",
                new_lines(),
                output,
                in_flight=_SLOTS,
                unix_socket=_engine_socket(folder),
            )
            return _tokens(output.read_bytes().splitlines()) / seconds

        our_rate()
        genai.rate(new_lines())
        against_ideal, against_genai = [], []
        for turn in range(options.pairs):
            pair = in_turn(our_rate, ideal_rate, turn)
            against_ideal.append(pair)
            against_genai.append((pair[0], genai.rate(new_lines())))
            rates = f"ideal client {pair[1]:.0f}, openvino-genai {against_genai[-1][1]:.0f}"
            print(f"   {turn + 1}: Linarite {pair[0]:.0f}, {rates} tokens/s", flush=True)
    what = f"batch of {options.lines} chats on the embedded engine against"
    return [
        compared(
            f"{what} an ideal client of the same engine",
            against_ideal,
            limit=Limit(at_least=0.98),
            unit="tokens/s",
            names=("Linarite", "ideal client"),
        ),
        compared(
            f"{what} openvino-genai in-process",
            against_genai,
            limit=Limit(at_least=0.95),
            unit="tokens/s",
            names=("Linarite", "openvino-genai"),
        ),
    ]


def _lines(run: int, count: int) -> Lines:
    """Chats that no other run asks, from their first word on."""
    lines = []
    for number in range(count):
        question = f"{run}-{number}: what should one know about {_TOPICS[number % 6]}?"
        rules = [{"role": "system", "content": f"Rules, edition {run}. {_RULES}"}]
        asked = {
            "model": MODEL,
            "messages": [*(rules if number % 2 else []), {"role": "user", "content": question}],
            "max_tokens": _ANSWER_TOKENS[number % 5],
            "temperature": 0,
        }
        line = {"custom_id": f"request-{number}", "method": "POST", "body": asked}
        lines.append(json.dumps({**line, "url": "/v1/chat/completions"}).encode())
    return lines


def _tokens(answers: Lines) -> int:
    """The tokens that output lines say were written."""
    bodies = (json.loads(answer)["response"]["body"] for answer in answers)
    return sum(int(body["usage"]["completion_tokens"]) for body in bodies)


def _engine_socket(folder: Path) -> Path:
    """Where the server's one engine listens."""
    run = place.run_folder(folder / "data")
    return next(run.glob("engine-*"))


@contextmanager
def _in_process(folder: Path) -> Iterator[InProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.genai_peer", str(folder_of(MODELS, MODEL))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("openvino-genai did not start.")
        yield InProcess(process, folder / "genai.jsonl")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    options = script.parser(__doc__, pairs=3, lines=512).parse_args()
    script.run("batch_engine", options, measure)
