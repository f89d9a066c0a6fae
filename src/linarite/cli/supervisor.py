"""One process that starts the others, restarts what dies, and ends with all of them.

Its children are forks: what this process has imported they need not import again, which is most
of a start. They are killed when it is gone, however that happened; a forked child of a killed
supervisor is as good as killed itself, and everything here survives that.
"""

import ctypes
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType

import structlog

from linarite.cli.refusals import Refused
from linarite.errors import LinariteError

_STOP_SECONDS = 8.5
_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_HEAD_START_SECONDS = 2.0
_STARTS_BEFORE_READY = 3
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

_log = structlog.get_logger("linarite.serve")


@dataclass
class _Child:
    """One kind of process; `pid` is 0 while none runs."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    deaths: int = 0


class Supervisor:
    """Keeps one process of each kind running.

    Args:
        kinds: what each process does, by its name. The first is the one that people wait for:
            the others start once it is ready, or a little later, so as not to slow it.
        on_change: called with the pid of each process whenever one was started.
    """

    def __init__(
        self, kinds: Mapping[str, Callable[[], None]], on_change: Callable[[dict[str, int]], None]
    ) -> None:
        later = time.monotonic() + _HEAD_START_SECONDS
        self._children = [_Child(name, run, due=later) for name, run in kinds.items()]
        self._children[0].due = 0.0
        self._on_change = on_change
        self._wake = os.pipe()
        self._lifeline = os.pipe()
        self._stop_asked = 0
        for end in self._wake:
            os.set_blocking(end, False)

    def run(self, is_ready: Callable[[], bool], on_ready: Callable[[], None]) -> None:
        """Start everything and keep it running until SIGTERM, SIGINT or SIGHUP; then end it.

        Args:
            is_ready: asked often until it says yes.
            on_ready: called then.

        Raises:
            Refused: a process keeps dying before the whole is ready.
        """
        self._listen_to_signals()
        gc.freeze()  # what is there now is shared with the children: collecting would copy it
        gc.enable()
        ready = False
        try:
            while not self._stop_asked:
                self._start_due()
                if not ready and is_ready():
                    ready = True
                    self._start_all()
                    on_ready()
                self._wait(0.03 if not ready else self._seconds_to_due())
                self._reap()
                if not ready:
                    self._refuse_if_hopeless()
        finally:
            self._end_all()

    def _listen_to_signals(self) -> None:
        def handle(number: int, _frame: FrameType | None) -> None:
            self._stop_asked += number != signal.SIGCHLD

        for number in _SIGNALS:
            signal.signal(number, handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
            signal.signal(signal.SIGHUP, handle)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)

    def _wait(self, seconds: float | None) -> None:
        """Until a signal arrives or the time is over."""
        if self._stop_asked:
            return
        if select.select([self._wake[0]], [], [], seconds)[0]:
            os.read(self._wake[0], 4096)

    def _seconds_to_due(self) -> float | None:
        due = [child.due for child in self._children if not child.pid]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_all(self) -> None:
        for child in self._children:
            child.due = min(child.due, time.monotonic())
        self._start_due()

    def _start_due(self) -> None:
        started = False
        for child in self._children:
            if not child.pid and child.due <= time.monotonic():
                self._fork(child)
                started = True
        if started:
            self._on_change({child.name: child.pid for child in self._children})

    def _fork(self, child: _Child) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        child.started = time.monotonic()
        child.pid = os.fork()
        if child.pid == 0:
            code = 1
            try:
                self._become(child.name, parent)
                child.run()
                code = 0
            except BaseException as error:  # noqa: BLE001 - nothing above it may run in a fork
                code = _say_last_words(child.name, error)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def _become(self, name: str, parent: int) -> None:
        """Cut the child loose from what is the supervisor's alone; tie its life to it."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C reaches the supervisor, which stops its children in order
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            libc.prctl(_PR_SET_NAME, f"linarite-{name}".encode()[:15], 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        for end in (*self._wake, self._lifeline[1]):
            os.close(end)
        threading.Thread(target=self._outlive_nobody, name="lifeline", daemon=True).start()

    def _outlive_nobody(self) -> None:
        """For systems that do not tell a child of its parent's death: the pipe closes then."""
        os.read(self._lifeline[0], 1)
        os._exit(1)

    def _reap(self) -> None:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._note_death(child, os.waitstatus_to_exitcode(status))

    def _note_death(self, child: _Child, code: int) -> None:
        lived = time.monotonic() - child.started
        child.pid = 0
        child.deaths = 1 if lived > _STEADY_SECONDS else child.deaths + 1
        wait = 0.0 if child.deaths == 1 else _BACKOFF_SECONDS * 2 ** min(child.deaths - 2, 10)
        child.due = time.monotonic() + min(wait, _LONGEST_BACKOFF_SECONDS)
        if not self._stop_asked:
            _log.warning("process died", died=child.name, code=code, lived_seconds=round(lived, 1))

    def _refuse_if_hopeless(self) -> None:
        for child in self._children:
            if child.deaths >= _STARTS_BEFORE_READY:
                raise Refused(
                    f"The {child.name} process does not start; what it said last stands above."
                )

    def _end_all(self) -> None:
        """SIGTERM to every process; SIGKILL to what is left after a while, or when asked again."""
        asked = self._stop_asked
        self._stop_asked = max(asked, 1)
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(child.pid for child in self._children):
            left = deadline - time.monotonic()
            if left <= 0 or self._stop_asked > max(asked, 1):
                self._signal_all(signal.SIGKILL)
            select.select([self._wake[0]], [], [], max(0.0, min(left, 0.2)))
            self._reap()
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for end in (*self._wake, *self._lifeline):
            os.close(end)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)


def _say_last_words(name: str, error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, LinariteError | Refused):
        _log.error("process refused to run", failed=name, reason=str(error))
        return 1
    _log.error("process failed", failed=name, exc_info=error)
    return 1
