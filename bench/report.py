"""The newest results as tables in ``docs/benchmarks.md``, between the two marks that it holds."""

import time
from typing import Any

from bench import results
from bench.measure import Finding

SCRIPTS = {
    "batch_control_plane": "What running a batch costs beside the engine",
    "batch_engine": "A batch on the embedded engine",
    "transfer": "Upload and download",
    "transfer_large": "A 9 GB file",
    "api_latency": "API reads with 200,000 files",
    "storing": "What storing a chat costs",
    "stored_list": "Lists of 1,000,000 stored completions",
    "ingestion": "Bringing documents into an index",
    "ingestion_memory": "Memory of bringing documents into an index",
    "start": "Start",
    "chat_under_batch": "A chat while a batch runs",
    "proxy_overhead": "What passing a chat on costs",
    "tuning": "Training against TRL",
    "losses": "Losses against TRL's",
    "tuning_service": "Waiting around a training",
}
_PAGE = results.ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def write() -> None:
    """Put the newest result of every script into the page."""
    page = _PAGE.read_text()
    head, _, rest = page.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    sections = [section for name in SCRIPTS if (section := _section(name))]
    _PAGE.write_text(f"{head}{_BEGIN}\n\n" + "\n".join(sections) + f"\n{_END}{tail}")


def _section(name: str) -> str | None:
    run = results.newest(name)
    if run is None:
        return None
    rows = "\n".join(_row(finding) for finding in run["findings"])
    return (
        f"### {SCRIPTS[name]}\n\n"
        f"`python -m bench.{name.replace('_large', ' --large')}`, {_when(run)}.\n\n"
        "| what | measured | spread | must be | met | behind it |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


def _row(finding: Finding) -> str:
    limit = str(finding.limit) if finding.limit else ""
    met = "" if finding.limit is None else "yes" if finding.is_met else "**no**"
    behind = "; ".join(side for side in (finding.ours, finding.theirs) if side)
    spread = f"{finding.low:.3g} to {finding.high:.3g}"
    value = f"{finding.value:.3g} {finding.unit}"
    return f"| {finding.what} | {value} | {spread} | {limit} | {met} | {behind} |"


def _when(run: dict[str, Any]) -> str:
    machine = run["machine"]
    day = time.strftime("%Y-%m-%d", time.gmtime(run["at"]))
    return (
        f"{day}, commit {run['commit']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}, "
        f"{machine['other_load_cores']} cores busy with other work"
    )
