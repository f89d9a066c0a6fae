"""Results on disk: one JSON line a run in ``bench/results/SCRIPT.jsonl``, newest last."""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import Finding, Limit

ROOT = Path(__file__).parents[1]
_FOLDER = ROOT / "bench" / "results"


def keep(script: str, findings: Sequence[Finding], machine: dict[str, Any]) -> None:
    """Append a run."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    run = {
        "at": int(time.time()),
        "commit": _commit(),
        "machine": machine,
        "findings": [asdict(finding) for finding in findings],
    }
    with (_FOLDER / f"{script}.jsonl").open("a") as file:
        file.write(json.dumps(run) + "\n")


def newest(script: str) -> dict[str, Any] | None:
    """The last kept run, its findings as `Finding`; None when there is none."""
    file = _FOLDER / f"{script}.jsonl"
    if not file.exists():
        return None
    run: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    run["findings"] = [_finding(kept) for kept in run["findings"]]
    return run


def _finding(kept: dict[str, Any]) -> Finding:
    limit = Limit(**kept["limit"]) if kept["limit"] else None
    return Finding(**{**kept, "limit": limit})


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
