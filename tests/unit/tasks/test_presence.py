"""Whether another worker is gone."""

import subprocess
import sys

from linarite.tasks import presence


def id_of_another_process() -> tuple[subprocess.Popen[str], str]:
    code = "from linarite.tasks import presence; print(presence.worker_id(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_worker_is_not_gone_while_its_process_lives() -> None:
    process, other = id_of_another_process()
    with process:
        assert not presence.is_gone(other)
        process.kill()


def test_a_worker_is_gone_when_its_process_is() -> None:
    process, other = id_of_another_process()
    with process:
        process.kill()

    assert presence.is_gone(other)


def test_a_process_that_got_the_number_of_a_dead_worker_is_not_it() -> None:
    place, pid, _ = presence.worker_id().split(":")

    assert presence.is_gone(f"{place}:{pid}:1")


def test_a_worker_elsewhere_is_never_gone_for_sure() -> None:
    assert not presence.is_gone("ffffffffffffffff:1:1")
    assert not presence.is_gone("of-another-form")


def test_an_id_fits_its_column() -> None:
    assert len(presence.worker_id()) <= 64
