"""Heavy commands that outlive the worker that started them: submit, status, stop.

A command runs detached, in a session of its own, under a name that its owner chose (a job's id).
Submitting a name that runs changes nothing, so that work that is performed twice finds its command
again instead of starting another. What is known of a command stands in a folder:

    ROOT/NAME/process   the pid of its shell and when that started
    ROOT/NAME/rc        its exit code, once it has ended
    ROOT/NAME/output    what it printed
"""

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linarite.tasks import presence

KILLED = 128 + signal.SIGKILL
"""The code of a command that was killed, as shells tell it."""

# The shell notes itself before the command runs, for whoever started it may die this very moment.
# It outlives SIGTERM so as to tell how the command took it; the command gets it too, and is not
# begun where it comes before that.
_SCRIPT = """
stopped=
trap stopped=yes TERM
place=$2
read -r stat 2> /dev/null < "/proc/$$/stat" || stat=
since=$(set -- ${stat##*) }; shift 19 && echo "$1")
printf %s "$$ $since" > "$place/process.own"
mv "$place/process.own" "$place/process"
cd "$1" || exit 1
shift 2
if test "$stopped"; then code=143; else "$@"; code=$?; fi
echo "$code" > "$place/rc.part"
mv "$place/rc.part" "$place/rc"
"""
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 0.5
_DEATH_SECONDS = 5.0
_OUTPUT_MODE = 0o600
_SAID_BYTES = 4_000


@dataclass(frozen=True)
class Status:
    """How a command stands."""

    is_running: bool
    code: int | None = None
    """Its exit code, 128 and the signal's number where one ended it; None while it runs, or when
    nobody saw how it ended."""


class Launcher(Protocol):
    """Runs commands by name, each at most once at a time."""

    def submit(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Start a command in `folder`, unless it runs."""

    def status(self, name: str) -> Status:
        """How the command of that name stands; one that never was has ended with no code."""

    def stop(self, name: str, *, grace_seconds: float, kill: bool = True) -> None:
        """End a command: SIGTERM, and SIGKILL if it still runs when the grace is over.

        It gets SIGTERM more than once if it takes its time.

        Args:
            name: which command; one that does not run is no fault.
            grace_seconds: how long it may take; 0 kills it at once.
            kill: False lets it take longer than that by itself.
        """

    def said(self, name: str) -> str:
        """The end of what a command printed."""

    def forget(self, name: str) -> None:
        """Remove what is known of a command that has ended."""


class LocalLauncher:
    """Runs commands on this machine.

    Args:
        root: where what is known of them stands.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def submit(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        """As `Launcher.submit`."""
        place = self._root / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(place):
            if self.status(name).is_running:
                return
            (place / "rc").unlink(missing_ok=True)
            pid = _spawn(place, command, folder, environment)
            _write(place / "process", f"{pid} {presence.started(pid) or ''}")

    def status(self, name: str) -> Status:
        """As `Launcher.status`."""
        place = self._root / name
        if _running_pid(place) is not None:
            return Status(is_running=True)
        try:
            return Status(is_running=False, code=int((place / "rc").read_text()))
        except FileNotFoundError:
            return Status(is_running=False)

    def stop(self, name: str, *, grace_seconds: float, kill: bool = True) -> None:
        """As `Launcher.stop`."""
        place = self._root / name
        pid = _running_pid(place)
        if pid is None:
            return
        if grace_seconds > 0 and _ended_by(pid, signal.SIGTERM, place, grace_seconds):
            return
        if grace_seconds == 0 or kill:
            _ended_by(pid, signal.SIGKILL, place, _DEATH_SECONDS)

    def said(self, name: str) -> str:
        """As `Launcher.said`."""
        try:
            with (self._root / name / "output").open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _SAID_BYTES))
                return stream.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def forget(self, name: str) -> None:
        """As `Launcher.forget`."""
        shutil.rmtree(self._root / name, ignore_errors=True)


def _spawn(
    place: Path, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> int:
    """Start the shell that runs the command; the pid of the session."""
    output = os.open(place / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OUTPUT_MODE)
    try:
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SCRIPT, "sh", str(folder), str(place), *command],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
        )
    finally:
        os.close(output)


def _running_pid(place: Path) -> int | None:
    """The command's pid while it runs; reaps it when it was this process's child and ended."""
    try:
        pid_text, _, since = (place / "process").read_text().partition(" ")
    except FileNotFoundError:
        return None
    pid = int(pid_text)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return pid if since and presence.started(pid) == since else None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _ended_by(pid: int, number: signal.Signals, place: Path, seconds: float) -> bool:
    """Signal a command again and again; whether it ended within `seconds`.

    Once may be too early: between its shell's starting it and its own first line nobody hears it.
    A shell that had no time to tell a code died of the signal itself.
    """
    ends = time.monotonic() + seconds
    while True:
        _signal(pid, number)
        left = ends - time.monotonic()
        if _ended_within(place, min(left, _AGAIN_SECONDS)):
            break
        if left <= _AGAIN_SECONDS:
            return False
    if not (place / "rc").exists():
        _write(place / "rc", str(128 + number))
    return True


def _ended_within(place: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _running_pid(place) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with (place / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
