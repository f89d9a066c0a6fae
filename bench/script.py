"""What every script does around its own measuring: options, printing, keeping, verdict."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import machine, results
from bench.measure import Finding

_SCRATCH = results.ROOT / "bench" / ".scratch"

Measure = Callable[[argparse.Namespace, Path], list[Finding]]


def parser(about: str, pairs: int = 5, **defaults: int) -> argparse.ArgumentParser:
    """A parser with ``--pairs``, ``--scratch`` and one integer option for each of `defaults`."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--pairs", type=int, default=pairs, help=f"interleaved pairs ({pairs})")
    made.add_argument(
        "--scratch", type=Path, default=_SCRATCH, help="folder for what is measured, emptied after"
    )
    for name, value in defaults.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    return made


def run(name: str, options: argparse.Namespace, measure: Measure) -> None:
    """Measure, print, keep the result, and end the process: 1 when a line is not met."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    about = machine.described()
    print(f"{name}: {about['processor']}, {about['cores']} cores, ", end="")
    print(f"{about['other_load_cores']} of them busy with other work", flush=True)
    options.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.scratch, prefix=f"{name}-") as folder:
        findings = measure(options, Path(folder))
    results.keep(name, findings, about)
    show(findings)
    sys.exit(any(not finding.is_met for finding in findings))


def show(findings: Sequence[Finding]) -> None:
    """Print findings, a line each, and after them the lines that are not met."""
    for finding in findings:
        mark = "  " if finding.limit is None else "ok" if finding.is_met else "NO"
        spread = f"{finding.low:.3g} to {finding.high:.3g}"
        limit = f", must be {finding.limit}" if finding.limit else ""
        print(f"{mark} {finding.what}: {finding.value:.3g} {finding.unit} ({spread}){limit}")
        if sides := ", ".join(side for side in (finding.ours, finding.theirs) if side):
            print(f"     {sides}")
    for finding in findings:
        if not finding.is_met:
            print(f"NOT MET: {finding.what}: {finding.value:.3g}, must be {finding.limit}")
