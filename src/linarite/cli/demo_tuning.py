"""The second half of ``linarite demo``: the embedded model learns to talk like a pirate.

A shipped set of examples is uploaded and tuned on for real, the loss is drawn as it falls, the
result is deployed, and questions that no example holds are asked before and after.
"""

import csv
import io
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from openai import AzureOpenAI
    from openai.types.fine_tuning import FineTuningJob

_FINAL = {"succeeded", "failed", "cancelled"}
_HYPERPARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "supervised": {"n_epochs": 3, "batch_size": 4},
    "dpo": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 3.0},
}
_SEED = 7
UNSEEN = (
    "What is a telescope?",
    "How do I become a good cook?",
    "Why is the sky dark at night?",
)
_ANSWER_TOKENS = 60
_CHART_LINES = 12


def tune(client: "AzureOpenAI", model: str, method: str, console: Console) -> str | None:
    """Tune `model` on the shipped examples and deploy the result.

    Args:
        client: of the server.
        model: a chat model that is deployed under its own name.
        method: ``supervised`` or ``dpo``.
        console: where it is shown.

    Returns:
        The new deployment's name, or None when the job failed.
    """
    before = _answers(client, model)
    file = resources.files("linarite.cli") / "demo_data" / f"{method}.jsonl"
    upload = client.files.create(file=(file.name, file.read_bytes()), purpose="fine-tune")
    examples = len(file.read_text().splitlines())
    given: Any = {"type": method, method: {"hyperparameters": dict(_HYPERPARAMETERS[method])}}
    job = client.fine_tuning.jobs.create(
        model=model, training_file=upload.id, method=given, suffix="pirate", seed=_SEED
    )
    console.print(f"\n[bold]Tuning[/]   {job.id}, {examples} examples, {method}")
    began = time.monotonic()
    job = _watch(client, job, console)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        reason = f": {job.error.message}" if job.error else ""
        console.print(f"[red]The job ended as {job.status}[/]{escape(reason)}")
        return None
    console.print(
        f"[bold]Tuned[/]    {job.fine_tuned_model}: {job.trained_tokens:,} tokens in "
        f"{time.monotonic() - began:.0f} s"
    )
    deployment = f"pirate-{job.id[-6:]}"
    client.post(
        "/deployments", cast_to=object, body={"id": deployment, "model": job.fine_tuned_model}
    )
    console.print(f"[bold]Deployed[/] {deployment}")
    console.print(_comparison(before, _answers(client, deployment), console))
    return deployment


def _answers(client: "AzureOpenAI", deployment: str) -> list[str]:
    """What a deployment says to the questions that no example holds."""
    said = []
    for question in UNSEEN:
        answer = client.chat.completions.create(
            model=deployment,
            messages=[{"role": "user", "content": question}],
            max_tokens=_ANSWER_TOKENS,
            temperature=0,
        )
        said.append(answer.choices[0].message.content or "")
    return said


def _watch(client: "AzureOpenAI", job: "FineTuningJob", console: Console) -> "FineTuningJob":
    """Draw the loss until the job is over."""
    results: str | None = None
    losses: list[float] = []
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            results = results or _results_file(client, job)
            if results is not None:
                losses = _losses(client, results)
            live.update(_progress(job, losses, console.width))
            if job.status in _FINAL:
                return job
            time.sleep(0.5)
            job = client.fine_tuning.jobs.retrieve(job.id)


def _results_file(client: "AzureOpenAI", job: "FineTuningJob") -> str | None:
    """The file that grows by a row a step, once the job's events name it."""
    for event in client.fine_tuning.jobs.list_events(job.id, limit=100):
        if event.message.startswith("Created results file: "):
            return event.message.removeprefix("Created results file: ").strip()
    return None


def _losses(client: "AzureOpenAI", results: str) -> list[float]:
    rows = csv.DictReader(io.StringIO(client.files.content(results).text))
    return [float(row["train_loss"]) for row in rows if row["train_loss"]]


def _progress(job: "FineTuningJob", losses: list[float], width: int) -> RenderableType:
    state = Text.assemble(("Training ", "bold"), job.status)
    if job.status == "running" and job.estimated_finish:
        left = max(0, job.estimated_finish - int(time.time()))
        state.append(f", about {left} s to go" if losses else ", loading the model")
    if not losses:
        return state
    state.append(f", step {len(losses)}, loss {losses[-1]:.2f}")
    if len(losses) == 1:
        return state
    return Group(state, _chart(losses, min(width, 78)))


def _chart(losses: list[float], width: int) -> Text:
    """The loss over the steps, drawn in characters."""
    import plotext  # late: only here

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, _CHART_LINES)
    plotext.plot(range(1, len(losses) + 1), losses, marker="braille")
    plotext.xticks(sorted({round(1 + (len(losses) - 1) * part / 4) for part in range(5)}))
    plotext.xlabel("step")
    plotext.ylabel("loss")
    return Text.from_ansi(plotext.build())


def _comparison(before: list[str], after: list[str], console: Console) -> Table:
    table = Table(show_lines=True, header_style="bold", width=min(console.width, 110))
    table.add_column("Question it never saw", ratio=2)
    table.add_column("Before", ratio=3)
    table.add_column("After", ratio=3)
    for question, old, new in zip(UNSEEN, before, after, strict=True):
        table.add_row(
            escape(question), escape(" ".join(old.split())), escape(" ".join(new.split()))
        )
    return table
