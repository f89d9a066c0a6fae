"""Every benchmark in turn, or the report: see the package."""

import argparse
import subprocess
import sys

from bench import report
from bench.results import ROOT


def main() -> None:
    """Run the scripts named, or all; end with 1 when a line is not met or a script broke."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scripts", nargs="*", choices=[[], *report.SCRIPTS], default=[])
    parser.add_argument("--report", action="store_true", help="write docs/benchmarks.md only")
    options = parser.parse_args()
    if options.report:
        report.write()
        return
    failed = []
    for name in options.scripts or report.SCRIPTS:
        print(f"\n=== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, check=False)
        if done.returncode != 0:
            failed.append(name)
    if failed:
        sys.exit(f"\nNot met or broken: {', '.join(failed)}")


if __name__ == "__main__":
    main()
