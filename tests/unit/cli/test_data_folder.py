"""Whose a data folder is, and what lies in it."""

import stat
from pathlib import Path

from linarite.cli.data_folder import Announcement, DataFolder, write_secret

SAID = Announcement("http://127.0.0.1:8080", "key", "2025-02-01-preview", 1)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    key, is_new = DataFolder(tmp_path).api_key()

    assert is_new
    assert len(key) >= 32
    assert DataFolder(tmp_path).api_key() == (key, False)


def test_an_announcement_counts_only_while_its_server_has_the_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.lock()
    folder.announce(SAID, {"api": 2})
    assert DataFolder(tmp_path).announced() == SAID

    assert folder._lock is not None
    folder._lock.close()

    assert DataFolder(tmp_path).announced() is None


def test_nothing_is_announced_where_no_server_ran(tmp_path: Path) -> None:
    assert DataFolder(tmp_path / "none").announced() is None


def test_a_secret_replaces_what_lay_there_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("readable by all")
    path.chmod(0o644)

    write_secret(path, "new")

    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "of" / "this-server")

    folder.lock()

    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert folder._lock is not None
    folder._lock.close()
