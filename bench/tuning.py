"""How fast is training beside TRL at its best, and how much memory does it take?

The embedded model, LoRA on every linear layer, batches of 8, one epoch over chats or preferences of
different lengths: tokens per second from the start of the command to the adapter on the disk, in
turn with TRL in a process of the same libraries. Both wait for their threads without spinning.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import peers, script
from bench.measure import Finding, Limit, compared
from bench.results import ROOT
from bench.servers import MODELS
from linarite.engines.installed import folder_of

MODEL = "smollm2-135m-instruct"
BATCH = 8
_WORDS = ("tide", "lantern", "harbour", "copper", "winter", "letter", "orchard", "signal", "bread")
OPEN = ("learning_rate_multiplier", "beta", "l2_multiplier")
"""Hyperparameters that are left to the plan."""


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Both methods, each in turn with TRL's."""
    findings = []
    for method in ("supervised", "dpo"):
        rates: list[tuple[float, float]] = []
        memory: list[tuple[float, float]] = []
        for turn in range(options.pairs):
            job = _write_job(folder / f"{method}-{turn}", method, options.examples)
            order = (_ours, _theirs) if turn % 2 == 0 else (_theirs, _ours)
            done = {run: run(job, method) for run in order}
            tokens = _trained_tokens(job)
            (our_seconds, our_bytes), (their_seconds, their_bytes) = done[_ours], done[_theirs]
            rates.append((tokens / our_seconds, tokens / their_seconds))
            memory.append((their_bytes / 2**20, our_bytes / 2**20))
            print(f"   {method} {turn + 1}: {rates[-1][0]:.0f} and {rates[-1][1]:.0f} tokens/s")
        limit = Limit(at_least=1.3)
        what = f"{method} training of {options.examples} examples against TRL"
        names = ("Linarite", "TRL 1.16")
        findings.append(compared(what, rates, limit=limit, unit="tokens/s", names=names))
        what = f"TRL's memory over ours, {method}"
        findings.append(compared(what, memory, limit=None, unit="MiB", names=names[::-1]))
    return findings


def _ours(job: Path, _method: str) -> tuple[float, int]:
    return timed([sys.executable, "-m", "linarite.training", str(job)], {})


def _theirs(job: Path, method: str) -> tuple[float, int]:
    model = folder_of(MODELS, MODEL) / "hf"
    command = [sys.executable, str(ROOT / "bench" / "trl_peer.py"), str(model)]
    command += [str(job / "training.jsonl"), str(job / "trl"), method]
    return timed(command, {"PYTHONPATH": str(peers.trl()), "OMP_WAIT_POLICY": "PASSIVE"})


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, int]:
    """Run a command; its seconds and the most memory it had, in bytes."""
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=os.environ | offline | environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def _trained_tokens(job: Path) -> int:
    last = json.loads((job / "log.jsonl").read_text().splitlines()[-1])
    if last["kind"] != "succeeded":
        raise RuntimeError(f"the training failed: {last}")
    return int(last["trained_tokens"])


def _write_job(folder: Path, method: str, examples: int) -> Path:
    folder.mkdir()
    lines = training_lines(method, examples)
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    wishes = {"n_epochs": 1, "batch_size": BATCH} | dict.fromkeys(OPEN)
    spec = {
        "format": 1,
        "job": "ftjob-bench",
        "method": method,
        "base": str(folder_of(MODELS, MODEL)),
        "adapter": None,
        "training_file": "training.jsonl",
        "validation_file": None,
        "hyperparameters": wishes,
        "seed": 7,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


def training_lines(method: str, examples: int) -> list[dict[str, object]]:
    """Chats or preferences of different lengths, always the same ones."""
    chance = random.Random(7)
    return [_line(method, chance) for _ in range(examples)]


def _line(method: str, chance: random.Random) -> dict[str, object]:
    asked = [{"role": "user", "content": f"Tell of the {text(chance, 3, 30)}"}]
    answer, other = ({"role": "assistant", "content": text(chance, 10, 90)} for _ in range(2))
    if method == "supervised":
        return {"messages": [*asked, answer]}
    return {
        "input": {"messages": asked},
        "preferred_output": [answer],
        "non_preferred_output": [other],
    }


def text(chance: random.Random, least: int, most: int) -> str:
    """Some words."""
    return " ".join(chance.choices(_WORDS, k=chance.randint(least, most)))


if __name__ == "__main__":
    script.run("tuning", script.parser(__doc__ or "", pairs=2, examples=96).parse_args(), measure)
