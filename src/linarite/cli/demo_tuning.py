"""The second half of ``linarite demo``: the embedded model learns to talk like a pirate.

A shipped set of examples is uploaded and tuned on for real, the loss is drawn as it falls, the
result is deployed, and questions that no example holds are asked before and after. Where an earlier
run did just that, what it made is shown instead.
"""

import csv
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable
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
    "supervised": {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
    "dpo": {
        "n_epochs": 2,
        "batch_size": 4,
        "learning_rate_multiplier": 3.0,
        "beta": 0.1,
        "l2_multiplier": 0.1,
    },
}
"""All that there are: what an earlier job learned by is compared with them."""
_SUFFIX, _SEED = "pirate", 7
UNSEEN = (
    "What is a telescope?",
    "How do I become a good cook?",
    "Why is the sky dark at night?",
)
_ANSWER_TOKENS = 60
_CHART_LINES = 12


@dataclass(frozen=True)
class Earlier:
    """A job of an earlier run, and the loss of each of its steps."""

    job: "FineTuningJob"
    losses: list[float]


@dataclass(frozen=True)
class Tuned:
    """Where the tuned model answers, and whether it is an earlier run's."""

    deployment: str
    is_earlier: bool


def tune(
    client: "AzureOpenAI", model: str, method: str, console: Console, *, again: bool = False
) -> Tuned | None:
    """Tune `model` on the shipped examples, unless an earlier run did, and deploy the result.

    Args:
        client: of the server.
        model: a chat model that is deployed under its own name.
        method: ``supervised`` or ``dpo``.
        console: where it is shown.
        again: tune even where an earlier run did.

    Returns:
        What answers in the end, or None when the job failed.
    """
    before = _answers(client, model)
    console.print()
    if earlier := None if again else find_earlier(client, model, method):
        job = earlier.job
        _show_earlier(earlier, console)
    else:
        job = _run_job(client, model, method, console)
    if job.status != "succeeded":
        reason = f": {job.error.message}" if job.error else ""
        console.print(f"[red]The job ended as {job.status}[/]{escape(reason)}")
        return None
    deployment = _deployment_of(client, job)
    console.print(f"[bold]Deployed[/] {deployment}")
    console.print(_comparison(before, _answers(client, deployment), console))
    return Tuned(deployment, is_earlier=earlier is not None)


def request(model: str, method: str) -> dict[str, Any]:
    """What the demo asks of its job, besides the training file."""
    hyperparameters = dict(_HYPERPARAMETERS[method])
    return {
        "model": model,
        "suffix": _SUFFIX,
        "seed": _SEED,
        "method": {"type": method, method: {"hyperparameters": hyperparameters}},
    }


def training_file(method: str) -> Traversable:
    """The shipped examples."""
    return resources.files("linarite.cli") / "demo_data" / f"{method}.jsonl"


def find_earlier(client: "AzureOpenAI", model: str, method: str) -> Earlier | None:
    """The newest job that made just what a job of this run would make, if it can be shown.

    It was asked for the same and read a training file of the same content; its files are there.
    """
    from openai import NotFoundError  # late: where the SDK is missing, the demo says so

    for job in client.fine_tuning.jobs.list(limit=100):
        if job.status != "succeeded" or not _was_asked_the_same(job, model, method):
            continue
        try:
            learned = client.files.content(job.training_file).content
            losses = _losses(client, job.result_files[0])
        except NotFoundError:
            continue
        if learned == training_file(method).read_bytes():
            return Earlier(job, losses)
    return None


def _was_asked_the_same(job: "FineTuningJob", model: str, method: str) -> bool:
    told: Any = job.to_dict()  # the SDK's class knows no suffix
    asked = request(model, method)
    if any(told.get(name) != asked[name] for name in ("model", "suffix", "seed")):
        return False
    if told["method"]["type"] != method:
        return False
    learned_by = told if method == "supervised" else told["method"][method]
    return bool(learned_by["hyperparameters"] == _HYPERPARAMETERS[method])


def _run_job(client: "AzureOpenAI", model: str, method: str, console: Console) -> "FineTuningJob":
    """Train, and show how it goes; the job when it is over."""
    content = training_file(method).read_bytes()
    upload = client.files.create(file=(f"{method}.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(training_file=upload.id, **request(model, method))
    examples = len(content.splitlines())
    console.print(f"[bold]Tuning[/]   {job.id}, {examples} examples, {method}")
    began = time.monotonic()
    job = _watch(client, job, console)
    if job.status == "succeeded":
        console.print(
            f"[bold]Tuned[/]    {job.fine_tuned_model}\n"
            f"         {job.trained_tokens:,} tokens in {time.monotonic() - began:.0f} s"
        )
    return job


def _show_earlier(earlier: Earlier, console: Console) -> None:
    job = earlier.job
    ended = datetime.fromtimestamp(job.finished_at or job.created_at).astimezone()
    console.print(
        f"[bold]Tuned[/]    {job.fine_tuned_model}\n"
        f"         by an earlier run ({ended:%Y-%m-%d %H:%M}): same examples, same settings.\n"
        "         It is shown instead of being trained once more; --again trains."
    )
    console.print(_progress(job, earlier.losses, console.width))


def _deployment_of(client: "AzureOpenAI", job: "FineTuningJob") -> str:
    """Where the job's model answers; it is deployed if it is not yet."""
    listed: Any = client.get("/deployments", cast_to=object)
    for deployment in listed["data"]:
        if deployment["model"] == job.fine_tuned_model:
            return str(deployment["id"])
    wanted = {"id": f"{_SUFFIX}-{job.id[-6:]}", "model": job.fine_tuned_model}
    made: Any = client.post("/deployments", cast_to=object, body=wanted)
    return str(made["id"])


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
    chart = Text.from_ansi(plotext.build())
    chart.rstrip()
    return chart


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
