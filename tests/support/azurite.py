"""Azurite, Azure Storage's emulator, as a real blob service for tests.

What cannot start raises: a test on Azurite fails then, it is never skipped.
"""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_MODULES = Path(__file__).parents[1] / "end_to_end/node/node_modules"


@dataclass(frozen=True)
class Azurite:
    """A running emulator; `endpoint` is its account's address, `certificate` what it shows."""

    endpoint: str
    certificate: Path | None = None

    @property
    def connection_string(self) -> str:
        """By which the official client connects."""
        scheme = self.endpoint.partition(":")[0]
        return (
            f"DefaultEndpointsProtocol={scheme};AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.endpoint};"
        )

    @property
    def allow(self) -> str:
        """What `outbound.allow` must say for it."""
        return self.endpoint.split("/")[2]

    def service(self) -> "BlobServiceClient":
        """The official client over its own transport, as a user of the storage has it."""
        from azure.storage.blob import BlobServiceClient

        trusted = {} if self.certificate is None else {"connection_verify": str(self.certificate)}
        return BlobServiceClient.from_connection_string(self.connection_string, **trusted)


@contextmanager
def running_azurite(folder: Path, tls: tuple[Path, Path] | None = None) -> Iterator[Azurite]:
    """Start an emulator of this block's own, end it with the block.

    Args:
        folder: where it keeps its blobs.
        tls: certificate for ``localhost`` and its key, for https and with it for tokens.
    """
    port = _free_port()
    where, certificate = (
        ("http://127.0.0.1", None) if tls is None else ("https://localhost", tls[0])
    )
    how = [] if tls is None else ["--cert", str(tls[0]), "--key", str(tls[1]), "--oauth", "basic"]
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("node")),
            str(_MODULES / "azurite/dist/src/blob/main.js"),
            *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck", *how),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await(process, port, tls is not None)
        yield Azurite(f"{where}:{port}/{ACCOUNT}", certificate)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, has_tls: bool) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Azurite ended with {process.returncode}: make setup")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                if has_tls:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    context.wrap_socket(connection).close()
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("Azurite did not start within 30 seconds.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
