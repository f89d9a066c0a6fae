"""What a cracker does with a reader that hangs, crashes, swells and chatters."""

import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.cracking.cracker import Cracker, Limits
from linarite.indexing.failures import DocumentFailed, TryLater

ROOT = Path(__file__).parents[4]
READER = "tests.support.bad_reader:read"
NOTHING = Path(os.devnull)
Start = Callable[..., Cracker]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started: list[Cracker] = []

    def start(**limits) -> Cracker:
        started.append(Cracker(limits=Limits(**limits), reader=READER))
        return started[-1]

    yield start
    for cracker in started:
        cracker.__exit__()


def crack(cracker: Cracker, name: str, content_type: str | None = None) -> Cracked:
    [outcome] = cracker.crack([File(NOTHING, name, content_type)])
    if isinstance(outcome, DocumentFailed):
        raise outcome
    return outcome


def together(cracker: Cracker, *names: str) -> list[str]:
    """What is said of files that are asked for at once."""
    outcomes = cracker.crack([File(NOTHING, name) for name in names])
    return [one.text if isinstance(one, Cracked) else str(one) for one in outcomes]


def reason(cracker: Cracker, name: str) -> str:
    with pytest.raises(DocumentFailed) as failed:
        crack(cracker, name)
    return str(failed.value)


def pid(cracker: Cracker) -> int:
    return int(crack(cracker, "pid").text)


def test_one_process_reads_many_documents(start: Start):
    cracker = start()

    assert crack(cracker, "print hello", "a title") == Cracked("printed", "a title", ["printed"])
    assert reason(cracker, "refuse It is not to be read.") == "It is not to be read."
    assert len({pid(cracker) for _ in range(5)}) == 1


def test_a_process_is_replaced_after_so_many_documents(start: Start):
    cracker = start(documents=2)

    pids = [pid(cracker) for _ in range(5)]

    assert [pids.index(each) for each in pids] == [0, 0, 2, 2, 4]


def test_a_process_that_has_grown_is_replaced(start: Start):
    cracker = start(memory_bytes=400 << 20)
    first = pid(cracker)

    crack(cracker, "swell 150")

    assert pid(cracker) != first


def test_a_document_that_hangs_is_given_up_and_the_next_is_read(start: Start):
    cracker = start(seconds=0.5)
    first = pid(cracker)

    assert reason(cracker, "hang") == "Cracking took longer than 0.5 seconds."
    assert not psutil.pid_exists(first)
    assert pid(cracker) != first


def test_a_document_that_swells_is_given_up_and_the_next_is_read(start: Start):
    cracker = start(memory_bytes=300 << 20)

    assert reason(cracker, "swell 500") == "Cracking needed more than 300 MB of memory."
    assert reason(cracker, "abort") == "Cracking needed more than 300 MB of memory."
    assert pid(cracker)


def test_a_document_that_crashes_its_reader_is_told_so(start: Start):
    cracker = start()

    assert reason(cracker, "crash") == "The file makes its reader fail: SIGSEGV"
    assert reason(cracker, "raise no way") == (
        "The file makes its reader fail: ZeroDivisionError: no way"
    )
    assert reason(cracker, "exit 3") == "The file makes its reader fail: it ended with status 3"
    assert pid(cracker)


def test_a_crash_is_not_blamed_on_a_document_whose_process_another_had_damaged(start: Start):
    cracker = start()
    crack(cracker, "swell 1")

    assert crack(cracker, "crash-second").text == "well"


def test_files_that_are_asked_for_together_are_told_of_one_by_one(start: Start):
    cracker = start()

    assert together(cracker, "print", "refuse no", "crash", "print", "exit 3", "print") == [
        "printed",
        "no",
        "The file makes its reader fail: SIGSEGV",
        "printed",
        "The file makes its reader fail: it ended with status 3",
        "printed",
    ]


def test_a_file_that_hangs_costs_those_after_it_nothing(start: Start):
    cracker = start(seconds=0.5)

    assert together(cracker, "print", "hang", "print", "long 1") == [
        "printed",
        "Cracking took longer than 0.5 seconds.",
        "printed",
        "é",
    ]


def test_a_file_is_not_told_the_complaints_of_the_one_before(start: Start):
    said = together(start(), "chatter 3", "exit 3")

    assert said == ["chattered", "The file makes its reader fail: it ended with status 3"]


def test_files_after_more_text_than_there_is_room_for_are_left_to_another_time(start: Start):
    cracker = start()

    texts = together(cracker, "long 3000000", "long 1000000", "long 5", "print")

    assert [len(text) for text in texts] == [3_000_000, 1_000_000]
    assert together(cracker, "print") == ["printed"]


def test_a_process_that_takes_up_nothing_more_is_replaced(start: Start):
    cracker = start(seconds=1)
    crack(cracker, "stop-later 0.1")
    time.sleep(0.3)

    said = together(cracker, *["nap 0" + " " * 8000] * 16)  # more than a pipe holds

    assert said == ["rested"] * 16


def test_what_is_left_to_another_time_is_not_read_on(start: Start):
    cracker = start()
    first = pid(cracker)

    together(cracker, "long 4000000", "nap 60")

    assert not psutil.pid_exists(first)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(start: Start):
    class Over(Exception):
        pass

    def check() -> None:
        raise Over

    cracker = start()

    with pytest.raises(Over):
        cracker.crack([File(NOTHING, "nap 0.2")], check)
    time.sleep(0.3)
    assert crack(cracker, "print").text == "printed"


@pytest.mark.parametrize(
    "places", [[0, 2**32 - 1] * 5, [3, 3], [5, 2]], ids=["too much", "empty", "backwards"]
)
def test_pieces_that_a_text_cannot_be_cut_into_are_the_document_s_fault(start: Start, places):
    packed = array("I", places).tobytes().hex()

    assert "what it was cut into cannot be" in reason(start(), f"forge-cuts {packed}")


def test_a_process_that_died_between_two_documents_is_replaced(start: Start):
    cracker = start()
    first = pid(cracker)

    os.kill(first, signal.SIGKILL)

    assert pid(cracker) != first


@pytest.mark.slow
def test_a_process_that_falls_silent_is_given_up(start: Start):
    assert "answers no more" in reason(start(), "fall-silent")


def test_text_beyond_every_bound_is_not_taken_in(start: Start):
    cracker = start(text_characters=1000)

    assert reason(cracker, "long 100000") == "The text is longer than 1,000 characters."


@pytest.mark.parametrize("answer", ["[]", "{", "[" * 100_000, '"\\ud800"'])
def test_an_answer_that_is_none_is_the_document_s_fault(start: Start, answer: str):
    cracker = start()

    assert "its answer cannot be read" in reason(cracker, f"forge {answer}")
    assert pid(cracker)


def test_what_a_reader_tells_is_fit_for_a_database(start: Start):
    cracker = start()

    assert reason(cracker, "refuse a\0b \ud800" + "c" * 5_000) == "a b ?" + "c" * 1_995
    assert crack(cracker, "print", "a\0title").title == "a title"


def test_a_reader_that_chatters_does_not_wait_for_a_listener(start: Start):
    cracker = start(seconds=5)

    with suppress(DocumentFailed):
        crack(cracker, "chatter 1000")

    assert pid(cracker)


def test_the_process_sees_no_secret(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    seen = crack(start(), "environment").text.split()

    assert "PATH" in seen
    assert {"AZURE_STORAGE_KEY", "HTTPS_PROXY"}.isdisjoint(seen)


def test_the_process_writes_no_file(start: Start, tmp_path: Path):
    assert "File too large" in reason(start(), f"fill {tmp_path}/filled")


def test_the_process_reaches_no_network(start: Start):
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True).returncode:
        pytest.skip("the system lets nobody give up the network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = reason(start(), f"connect {server.getsockname()[1]}")

    assert "Network is unreachable" in told


def test_a_reader_that_cannot_be_loaded_is_a_matter_for_later():
    with (
        Cracker(reader="linarite.no_such_module:read") as cracker,
        pytest.raises(TryLater) as failed,
    ):
        crack(cracker, "a.txt")

    assert "No module named" in str(failed.value)


@pytest.mark.parametrize("deed", ["hang", "pid"])
def test_the_process_ends_with_a_parent_that_is_killed(deed, tmp_path: Path):
    """Whether it is in the middle of a document or waits for the next one."""
    script = (
        "import time; from pathlib import Path\n"
        "from linarite.indexing.cracking.cracked import File\n"
        "from linarite.indexing.cracking.cracker import Cracker\n"
        f"cracker = Cracker(reader={READER!r}); nothing = Path('/dev/null')\n"
        "print(cracker.crack([File(nothing, 'pid')])[0].text, flush=True)\n"
        f"cracker.crack([File(nothing, {deed!r})]); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.2)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    for _ in range(100):
        if not psutil.pid_exists(child):
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


@pytest.mark.slow
def test_a_document_that_takes_all_of_the_processor_is_given_up(start: Start):
    """The kernel's own limit, which holds where the parent is not there to look at the clock."""
    cracker = start(seconds=2)

    assert reason(cracker, "spin") == "Cracking took longer than 2 seconds."
