"""Folders for documents that are being read, of processes that live and of one that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from linarite.resources.ingestion.scratch import scratch_folder

HOLDER = """
from linarite.resources.ingestion.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "document").write_text("secret")
    print(folder, flush=True)
    input()
"""


def test_a_killed_process_s_folder_goes_with_the_next_and_a_living_one_s_stays(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "linarite-other").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())

        with scratch_folder() as own:
            assert (held / "document").exists()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (held / "document").exists()
        with scratch_folder() as own:
            assert sorted(tmp_path.iterdir()) == sorted([own, tmp_path / "linarite-other"])

    assert sorted(tmp_path.iterdir()) == [tmp_path / "linarite-other"]
