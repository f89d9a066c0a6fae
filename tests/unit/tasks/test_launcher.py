"""Commands that outlive who started them, by their names."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.files import until

from linarite.tasks.launcher import KILLED, LocalLauncher, Status

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "open('up', 'w').close(); time.sleep(60)",
]
POLITE = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
    "open('up', 'w').close(); time.sleep(60)",
]


@pytest.fixture
def launcher(tmp_path: Path) -> LocalLauncher:
    return LocalLauncher(tmp_path / "commands")


@pytest.fixture(autouse=True)
def nothing_is_left(launcher: LocalLauncher, tmp_path: Path):
    yield
    launcher.stop("job", grace_seconds=0)


def submit(launcher: LocalLauncher, folder: Path, command: list[str], **environment: str) -> None:
    path = {"PATH": os.environ["PATH"]}
    launcher.submit("job", command, folder, path | environment)


def ended(launcher: LocalLauncher) -> Status:
    until(lambda: not launcher.status("job").is_running, "the command has ended")
    return launcher.status("job")


def pid_of(tmp_path: Path) -> int:
    return int((tmp_path / "commands" / "job" / "process").read_text().split()[0])


def test_a_command_runs_in_its_folder_and_tells_its_code(launcher, tmp_path):
    submit(launcher, tmp_path, ["sh", "-c", "pwd > where; echo said $WORD; exit 7"], WORD="it")

    assert ended(launcher) == Status(is_running=False, code=7)
    assert Path((tmp_path / "where").read_text().strip()) == tmp_path
    assert launcher.said("job") == "said it\n"


def test_the_end_of_what_a_command_printed_is_known(launcher, tmp_path):
    assert launcher.said("job") == ""

    submit(launcher, tmp_path, ["sh", "-c", "seq 2000; echo why >&2"])
    ended(launcher)

    assert launcher.said("job").endswith("1999\n2000\nwhy\n")
    assert len(launcher.said("job")) <= 4_000


def test_a_command_that_never_was_has_ended_without_a_code(launcher):
    assert launcher.status("job") == Status(is_running=False)
    launcher.stop("job", grace_seconds=1)


def test_a_name_that_runs_is_not_started_again(launcher, tmp_path):
    command = ["sh", "-c", "echo x >> starts; sleep 60"]
    submit(launcher, tmp_path, command)
    until((tmp_path / "starts").exists, "it runs")

    submit(LocalLauncher(tmp_path / "commands"), tmp_path, command)
    time.sleep(0.2)

    assert (tmp_path / "starts").read_text() == "x\n"


def test_a_command_outlives_the_process_that_started_it(launcher, tmp_path):
    starter = (
        "import os, signal, sys; from pathlib import Path; "
        "from linarite.tasks.launcher import LocalLauncher; "
        "command = ['sh', '-c', 'touch up; exec sleep 60']; "
        "LocalLauncher(Path(sys.argv[1])).submit('job', command, Path('.'), os.environ); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )

    subprocess.run([sys.executable, "-c", starter, tmp_path / "commands"], cwd=tmp_path)

    until((tmp_path / "up").exists, "it runs")
    assert launcher.status("job").is_running
    launcher.stop("job", grace_seconds=5)
    assert ended(launcher).code == 128 + signal.SIGTERM


def test_a_command_is_known_whose_starter_died_as_soon_as_it_ran(launcher, tmp_path):
    starter = (
        "import os, sys; from pathlib import Path; "
        "from linarite.tasks.launcher import LocalLauncher; "
        "spawn = os.posix_spawn; "
        "os.posix_spawn = lambda *a, **more: (spawn(*a, **more), os._exit(9)); "
        "LocalLauncher(Path(sys.argv[1])).submit('job', ['sleep', '60'], Path('.'), os.environ)"
    )

    subprocess.run([sys.executable, "-c", starter, tmp_path / "commands"], cwd=tmp_path)

    until(lambda: launcher.status("job").is_running, "it is known")
    launcher.stop("job", grace_seconds=5)
    assert ended(launcher).code == 128 + signal.SIGTERM


def test_a_stopped_command_may_tell_how_it_took_it(launcher, tmp_path):
    submit(launcher, tmp_path, POLITE)
    until((tmp_path / "up").exists, "it runs")

    launcher.stop("job", grace_seconds=10)

    assert launcher.status("job") == Status(is_running=False, code=75)


def test_a_command_that_is_stopped_before_it_began_tells_so(launcher, tmp_path):
    for number in range(20):
        submit(launcher, tmp_path, SLEEP)
        time.sleep(number * 0.0005)  # into one line of the shell's script after the other
        launcher.stop("job", grace_seconds=10)

        assert launcher.status("job") == Status(is_running=False, code=128 + signal.SIGTERM)


def test_a_command_that_does_not_stop_is_killed_unless_it_may_go_on(launcher, tmp_path):
    submit(launcher, tmp_path, STUBBORN)
    until((tmp_path / "up").exists, "it runs")

    launcher.stop("job", grace_seconds=0.1, kill=False)
    left_alone = launcher.status("job").is_running
    launcher.stop("job", grace_seconds=0.1)

    assert left_alone
    assert launcher.status("job") == Status(is_running=False, code=KILLED)


def test_a_killed_command_tells_its_signal(launcher, tmp_path):
    submit(launcher, tmp_path, ["sh", "-c", "kill -9 $$"])

    assert ended(launcher).code == KILLED


def test_nobody_knows_the_end_of_a_command_whose_shell_was_killed_with_it(launcher, tmp_path):
    submit(launcher, tmp_path, SLEEP)

    os.killpg(pid_of(tmp_path), signal.SIGKILL)

    assert ended(launcher) == Status(is_running=False)


def test_a_pid_that_is_anothers_by_now_is_not_the_command(launcher, tmp_path):
    submit(launcher, tmp_path, ["true"])
    ended(launcher)
    place = tmp_path / "commands" / "job"
    (place / "process").write_text(f"{os.getpid()} 1")

    launcher.stop("job", grace_seconds=0)

    assert not launcher.status("job").is_running


def test_a_name_can_be_used_again_once_its_command_has_ended(launcher, tmp_path):
    submit(launcher, tmp_path, ["sh", "-c", "exit 3"])
    ended(launcher)

    submit(launcher, tmp_path, ["sh", "-c", "exit 4"])

    assert ended(launcher).code == 4
    launcher.forget("job")
    assert list((tmp_path / "commands").iterdir()) == []
