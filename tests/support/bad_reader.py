"""A cracker's reader that does what its document is called; stands for libraries at their worst."""

import os
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer

from linarite.indexing.cracking.cracked import Cracked
from linarite.indexing.failures import DocumentFailed

_kept: list[bytes] = []


def read(path: Path, name: str, content_type: str | None, most_characters: int) -> Cracked:
    word, _, more = name.partition(" ")
    return Cracked(_DEEDS[word](more), content_type)


def _hang(_: str) -> str:
    time.sleep(3600)
    return ""


def _spin(_: str) -> str:
    while True:
        pass


def _crash(_: str) -> str:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ""


def _exit(status: str) -> str:
    os._exit(int(status))


def _fall_silent(_: str) -> str:
    for descriptor in range(256):
        with suppress(OSError):
            os.close(descriptor)
    return _hang("")


def _nap(seconds: str) -> str:
    time.sleep(float(seconds))
    return "rested"


def _crash_second(_: str) -> str:
    """What a document before it has damaged."""
    return _crash("") if _kept else "well"


def _swell(megabytes: str) -> str:
    _kept.append(bytes(int(megabytes) << 20))
    return "swollen"


def _abort(_: str) -> str:
    os.write(2, b"memory allocation of 4294967296 bytes failed\n")
    os.abort()


def _raise(text: str) -> str:
    raise ZeroDivisionError(text)


def _refuse(text: str) -> str:
    raise DocumentFailed(text)


def _print(text: str) -> str:
    os.write(1, text.encode())
    print(text)  # noqa: T201
    return "printed"


def _stop_later(seconds: str) -> str:
    Timer(float(seconds), os.kill, (os.getpid(), signal.SIGSTOP)).start()
    return "stopping"


def _chatter(lines: str) -> str:
    for _ in range(int(lines)):
        os.write(2, b"chatter " * 100 + b"\n")
    return "chattered"


def _connect(port: str) -> str:
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        return "connected"


def _fill(path: str) -> str:
    Path(path).write_bytes(b"filled")
    return "filled"


def _forge(answer: str) -> str:
    """What a library could do that a file has taken over."""
    return _say(answer.encode(), b"", b"")


def _forge_cuts(places: str) -> str:
    return _say(b'{"title": null, "grown_bytes": 0}', b"a text", bytes.fromhex(places))


def _say(*parts: bytes) -> str:
    [out] = [it for it in range(3, 32) if _is_pipe(it)]
    for part in parts:
        os.write(out, len(part).to_bytes(8, "big") + part)
    return _hang("")


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


_DEEDS = {
    "forge": _forge,
    "forge-cuts": _forge_cuts,
    "hang": _hang,
    "exit": _exit,
    "fall-silent": _fall_silent,
    "nap": _nap,
    "spin": _spin,
    "crash": _crash,
    "crash-second": _crash_second,
    "swell": _swell,
    "abort": _abort,
    "raise": _raise,
    "refuse": _refuse,
    "print": _print,
    "stop-later": _stop_later,
    "chatter": _chatter,
    "connect": _connect,
    "fill": _fill,
    "pid": lambda _: str(os.getpid()),
    "environment": lambda _: "\n".join(sorted(os.environ)),
    "long": lambda characters: "é" * int(characters),
}
