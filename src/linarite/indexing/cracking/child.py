"""The process that reads and cuts files: asked on its standard input, it answers on its output.

First it is told how texts are cut, then which files to read, some at a time; it answers for each.

It ends with its parent: the kernel is asked to kill it then, and where that cannot be asked (other
than Linux) the pipe that it is asked on closes, which it sees when it is through with a file.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from array import array
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from linarite.indexing.chunking import Chunker, Cutting
from linarite.indexing.cracking.messages import NEXT, Message, receive, send
from linarite.indexing.failures import DocumentFailed

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_OPEN_FILES = 256
_TOKENIZER_BYTES = 1 << 28


def main() -> None:
    """`child PARENT_PID MODULE:FUNCTION LIMITS`: read files until the parent goes."""
    parent, reader, limits = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    _shut_off(parent)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that what a library prints is not taken for an answer
    os.set_blocking(2, False)  # nobody reads it before the end: a flood of it is lost
    module, _, function = reader.partition(":")
    read = getattr(importlib.import_module(module), function)
    send(answers, Message({}))  # from now on it reads what is written to it
    cutting = receive(sys.stdin.buffer.read, _TOKENIZER_BYTES)
    if cutting is None:
        return
    chunker = Chunker(Cutting(tokenizer=cutting.text or None, **cutting.told))
    own_bytes = _size_bytes()
    ceiling = own_bytes + limits["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    send(answers, Message({}))
    while (asked := receive(sys.stdin.buffer.read)) is not None:
        for file in asked.told["files"]:
            with suppress(BlockingIOError):  # nobody takes up what is said
                os.write(2, NEXT)  # what follows is said of this file
            _allow_cpu(limits["seconds"])
            answer = _answer(read, chunker, file, limits["text_characters"])
            answer.told["grown_bytes"] = _size_bytes() - own_bytes
            send(answers, answer)


def _answer(read: Any, chunker: Chunker, file: dict[str, Any], most_characters: int) -> Message:
    path = Path(file["path"])
    try:
        cracked = read(path, file["name"], file["content_type"], most_characters)
        pieces = chunker.chunk(cracked.text)
    except DocumentFailed as error:
        return Message({"failed": str(error)})
    except MemoryError:
        return Message({"out_of_memory": True})
    places = array("I", chain.from_iterable((piece.start, piece.end) for piece in pieces))
    return Message({"title": cracked.title}, cracked.text, places)


def _shut_off(parent: int) -> None:
    """Give up what reading a file does not need (it writes none), and end with the parent."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # No network but an empty one; where the system refuses that, it stays as it was.
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))


def _allow_cpu(seconds: float) -> None:
    """So much processor time from now on; beyond it the kernel ends the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))


def _size_bytes() -> int:
    """The address space in use; 0 where it is not told (other than Linux)."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main()
