"""Are our losses TRL's? The same adapter learns from the same batches at the same rates in both.

The embedded model in fp32, two epochs: the largest difference of any step's loss, as a share of
TRL's. A later step's loss depends on the slopes of all steps before it, so that those are compared
as well. Beside it what TRL's own way of ending a chat changes: it takes the newline that a template
writes after the end of the last turn for a part of the answer; an engine never gets to say it.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from bench import peers, script
from bench.measure import Finding, Limit
from bench.results import ROOT
from bench.servers import MODELS
from bench.tuning import OPEN, text, timed
from linarite.engines.installed import folder_of
from linarite.training.checkpoints import keep_checkpoint
from linarite.training.data import preference, supervised
from linarite.training.dpo import Pair
from linarite.training.model import TunedModel
from linarite.training.plan import batches_of_epoch, make_plan
from linarite.training.spec import Spec, read_spec
from linarite.training.writing import Writer

MODEL = "smollm2-135m-instruct"
BATCH, EPOCHS, SEED = 8, 2, 7
LARGEST = 1e-4
"""The same arithmetic in another order: fp32 keeps seven digits, and errors grow as it learns.
On a processor with bf16, which our training uses and TRL is not told to use here, it is not met."""


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Both methods beside TRL's, and DPO once more with the chat's end as TRL has it."""
    findings = []
    for method in ("supervised", "dpo"):
        job = _write_job(folder / method, method, options.batches * BATCH)
        timed([sys.executable, "-m", "linarite.training", str(job)], {})
        ours = _our_losses(job)
        what = f"{method}: largest difference of a step's loss from TRL's"
        theirs = _their_losses(job, method, "turn")
        findings.append(_finding(what, ours, theirs, Limit(at_most=LARGEST)))
        if method == "dpo":
            what += ", which learns the newline after the answer too"
            findings.append(_finding(what, ours, _their_losses(job, method, "newline"), None))
    return findings


def _finding(what: str, ours: list[float], theirs: list[float], limit: Limit | None) -> Finding:
    shares = [abs(one - other) / other for one, other in zip(ours, theirs, strict=True)]
    return Finding(
        what,
        max(shares),
        min(shares),
        max(shares),
        "of it",
        limit,
        ours=f"Linarite {ours[0]:.6f} at first, {ours[-1]:.6f} at last",
        theirs=f"TRL 1.16 {theirs[0]:.6f} and {theirs[-1]:.6f}",
    )


def _our_losses(job: Path) -> list[float]:
    told = [json.loads(line) for line in (job / "log.jsonl").read_text().splitlines()]
    if told[-1]["kind"] != "succeeded":
        raise RuntimeError(f"the training failed: {told[-1]}")
    return [line["metrics"]["train_loss"] for line in told if line["kind"] == "step"]


def _their_losses(job: Path, method: str, ending: str) -> list[float]:
    out = job / f"trl-{ending}"
    model = folder_of(MODELS, MODEL) / "hf"
    command = [sys.executable, str(ROOT / "bench" / "trl_losses.py")]
    command += [str(model), str(job), str(out), method, ending]
    timed(command, {"PYTHONPATH": str(peers.trl()), "OMP_WAIT_POLICY": "PASSIVE"})
    losses: list[float] = json.loads((out / "losses.json").read_text())
    return losses


def _write_job(folder: Path, method: str, examples: int) -> Path:
    """A job that starts from an adapter, and beside it the batches and rates that it will have."""
    chance = random.Random(SEED)
    lines = [_line(method, chance) for _ in range(examples)]
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    model = TunedModel.load(folder_of(MODELS, MODEL) / "hf", None, SEED)
    adapter = folder / keep_checkpoint(folder, 0, model, MODEL)
    spec = {
        "format": 1,
        "job": "ftjob-bench",
        "method": method,
        "base": str(folder_of(MODELS, MODEL)),
        "adapter": str(adapter),
        "training_file": "training.jsonl",
        "validation_file": None,
        "hyperparameters": dict.fromkeys(OPEN) | {"n_epochs": EPOCHS, "batch_size": BATCH},
        "seed": SEED,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    lengths = _lengths(read_spec(folder), model.longest)
    (folder / "batches.json").write_text(
        json.dumps(_batches(read_spec(folder), lengths, model.width) | {"adapter": str(adapter)})
    )
    return folder


def _lengths(spec: Spec, longest: int) -> list[int]:
    writer = Writer.of_model(spec.base / "hf", longest)
    lines = [json.loads(line) for line in spec.training_file.read_text().splitlines()]
    if spec.method == "supervised":
        return [len(writer.write(supervised(line))) for line in lines]
    read = [preference(line) for line in lines]
    return [
        len(Pair(writer.write_chat(one.preferred), writer.write_chat(one.rejected))) for one in read
    ]


def _batches(spec: Spec, lengths: list[int], width: int) -> dict[str, object]:
    plan = make_plan(spec.method, spec.wishes, examples=len(lengths), width=width, seed=spec.seed)
    epochs = range(1, plan.n_epochs + 1)
    return {
        "batches": [batch for epoch in epochs for batch in batches_of_epoch(plan, epoch, lengths)],
        "rates": [plan.rate(step) for step in range(1, plan.steps + 1)],
        "weight_decay": plan.weight_decay,
        "beta": plan.beta,
    }


def _line(method: str, chance: random.Random) -> dict[str, object]:
    """A chat of one to three exchanges, some with a system message."""
    begin = [_message("system", text(chance, 3, 9))] if chance.random() < 0.5 else []
    for _ in range(chance.randint(0, 2)):
        begin += [_message("user", text(chance, 3, 20)), _message("assistant", text(chance, 3, 30))]
    begin.append(_message("user", text(chance, 3, 20)))
    answer, other = (_message("assistant", text(chance, 5, 60)) for _ in range(2))
    if method == "supervised":
        return {"messages": [*begin, answer]}
    return {
        "input": {"messages": begin},
        "preferred_output": [answer],
        "non_preferred_output": [other],
    }


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


if __name__ == "__main__":
    script.run("losses", script.parser(__doc__ or "", batches=5).parse_args(), measure)
