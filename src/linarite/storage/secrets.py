"""Secrets that callers hand over, encrypted before they reach a row.

The key lies in the data folder, readable by its owner alone, or comes from the settings where
several machines share one database. Knows no table.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from linarite.errors import LinariteError


class UnreadableSecret(LinariteError):
    """A stored secret was encrypted with another key; see `secret_key` in the settings."""


class Secrets:
    """Encrypts and decrypts with one key.

    Args:
        key: a Fernet key, 32 bytes as URL-safe base64.

    Raises:
        ValueError: `key` is not one.
    """

    def __init__(self, key: str | bytes) -> None:
        self._fernet = Fernet(key)

    def seal(self, secret: str) -> str:
        """`secret`, encrypted and authenticated, as ASCII text."""
        return self._fernet.encrypt(secret.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """What `seal` was given.

        Raises:
            UnreadableSecret: another key sealed it, or it was changed.
        """
        try:
            return self._fernet.decrypt(sealed.encode("ascii")).decode()
        except InvalidToken:
            raise UnreadableSecret from None


def kept_key(folder: Path) -> bytes:
    """The key in ``folder/secret-key``, made (mode 600) when there is none yet.

    Two processes that start at once end up with the same key.
    """
    path = folder / "secret-key"
    if not path.exists():
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".secret-key-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # somebody came first: theirs is read below
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    return path.read_bytes()
