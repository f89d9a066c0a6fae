"""The folder of one server: whose it is at the moment, its key, and where the server answers."""

import fcntl
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from linarite.cli.refusals import Refused

_LOCK_SECONDS = 3.0


@dataclass(frozen=True)
class Announcement:
    """What a running server says of itself, to people's tools and to tests."""

    endpoint: str
    api_key: str
    api_version: str
    pid: int

    def to_json(self, **more: Any) -> str:
        """As JSON."""
        return json.dumps({**self.__dict__, **more}, indent=2) + "\n"


class DataFolder:
    """The data folder at `path`, made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self._lock: BinaryIO | None = None

    def lock(self) -> None:
        """Claim the folder for this process and those it forks, until all of them are gone.

        Raises:
            Refused: another server has it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # what callers sent is in it
        self.run.mkdir(mode=0o700, exist_ok=True)
        file = (self.run / "lock").open("a+b")
        deadline = time.monotonic() + _LOCK_SECONDS  # processes of a killed server need a moment
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refused(self._held()) from None
                time.sleep(0.05)
            else:
                break
        self._lock = file
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()

    def _held(self) -> str:
        holder = (self.run / "lock").read_text().strip()
        return (
            f"Another server (process {holder or 'unknown'}) uses the data folder {self.path}. "
            "Stop it, or give this one a folder of its own: linarite serve --data DIR"
        )

    def api_key(self) -> tuple[str, bool]:
        """The key that was kept here, or a new one; and whether it is new."""
        file = self.path / "api-key"
        if file.is_file() and (kept := file.read_text().strip()):
            return kept, False
        key = secrets.token_urlsafe(32)
        write_secret(file, key + "\n")
        return key, True

    def announce(self, announcement: Announcement, processes: dict[str, int]) -> None:
        """Keep where the server answers, for those who know its folder."""
        write_secret(self.run / "server.json", announcement.to_json(processes=processes))

    def announced(self) -> Announcement | None:
        """Where the server of this folder answers; None when none runs."""
        try:
            said = json.loads((self.run / "server.json").read_text())
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None
        said.pop("processes", None)
        return Announcement(**said) if self._is_held() else None

    def authority(self) -> Path | None:
        """The certificate that signs for the server, where it made one itself."""
        file = self.path / "tls" / "ca.pem"
        return file if file.is_file() else None

    def withdraw(self) -> None:
        """No server answers for this folder any more."""
        (self.run / "server.json").unlink(missing_ok=True)

    def _is_held(self) -> bool:
        with (self.run / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def write_secret(path: Path, text: str) -> None:
    """Put a file in place at once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
