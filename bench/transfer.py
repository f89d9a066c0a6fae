"""How fast do bytes come in and go out, and how much memory does that take?

1 GiB as one file and as 16 parts of 64 MiB, four at a time, against a plain copy on the same disk;
its download into a file against the same copy; all of them into new files and until the disk has
the bytes. The client costs next to nothing; the official one is shown beside it. `--large`: 9 GB
up and down once, for the memory of the process that serves.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import lean_client, script
from bench.measure import Finding, Limit, compared, interleaved, quantity
from bench.processes import child_named, peak_memory_mb
from bench.servers import Linarite, linarite

_MIB = 1 << 20
_PART = 64 * _MIB
_LARGE = 9 * 1000**3
_LARGE_FREE = 25 * 1000**3
_SIDE_BY_SIDE = 4
_FAST = Limit(at_least=0.75)
_SMALL = Limit(at_most=200)

Upload = Callable[[Linarite, Path], str]
"""Uploads a file; gives the id of what came of it."""


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Each way of transfer in turn with a plain copy."""
    source, target = folder / "source.bin", folder / "target.bin"
    _fill(source, options.mib)
    size = source.stat().st_size

    def copy_rate() -> float:
        target.unlink(missing_ok=True)
        return _rate(size, lambda: shutil.copyfile(source, target))

    with linarite(folder) as server:

        def download_rate() -> float:
            target.unlink(missing_ok=True)
            path = f"/files/{stored}/content"
            return _rate(size, lambda: lean_client.download(server, path, target))

        def against_copy(what: str, rate: Callable[[], float], limit: Limit | None) -> Finding:
            pairs = interleaved(rate, copy_rate, options.pairs)
            names = ("Linarite", "plain copy")
            return compared(what, pairs, limit=limit, unit="MB/s", names=names)

        def upload_rate(upload: Upload) -> Callable[[], float]:
            return lambda: _upload_rate(server, source, upload)

        stored = one_file(server, source)
        findings = [
            against_copy(f"upload of one file, {options.mib} MiB", upload_rate(one_file), _FAST),
            against_copy("the same in parts of 64 MiB", upload_rate(in_parts), _FAST),
            against_copy("the same by the SDK's upload_file_chunked", upload_rate(by_sdk), None),
            against_copy("download into a file", download_rate, _FAST),
        ]
        peak = peak_memory_mb(_api(server))
    findings.append(quantity("most memory of the API process", [peak], unit="MB", limit=_SMALL))
    return findings


def measure_large(_: argparse.Namespace, folder: Path) -> list[Finding]:
    """9 GB up in one file, and down again; the bytes are made and dropped, not read and written.

    Raises:
        RuntimeError: the disk has too little space.
    """
    if shutil.disk_usage(folder).free < _LARGE_FREE:
        raise RuntimeError(f"{_LARGE_FREE / 1e9:g} GB must be free.")
    buffer = os.urandom(_PART)
    with linarite(folder) as server:
        began = time.monotonic()
        send = lean_client.from_buffer(buffer, _LARGE)
        form = {"purpose": "assistants"}
        file_id = lean_client.post_form(server, "/files", form, "file", _LARGE, send)["id"]
        sent = time.monotonic()
        count = lean_client.download(server, f"/files/{file_id}/content", Path(os.devnull))
        received = time.monotonic()
        if count != _LARGE:
            raise RuntimeError(f"{_LARGE} bytes went in, {count} came out.")
        peak = peak_memory_mb(_api(server))
    rates = _LARGE / 1e6 / (sent - began), _LARGE / 1e6 / (received - sent)
    return [
        quantity("most memory of the API process, 9 GB", [peak], unit="MB", limit=_SMALL),
        quantity("upload of 9 GB", [rates[0]], unit="MB/s", limit=None),
        quantity("download of 9 GB", [rates[1]], unit="MB/s", limit=None),
    ]


def one_file(server: Linarite, source: Path) -> str:
    """One multipart request."""
    size = source.stat().st_size
    send = lean_client.from_file(source, 0, size)
    form = {"purpose": "assistants"}
    return str(lean_client.post_form(server, "/files", form, "file", size, send)["id"])


def in_parts(server: Linarite, source: Path) -> str:
    """The uploads API, some parts at a time."""
    size = source.stat().st_size
    begun = {"purpose": "assistants", "filename": "b.bin", "bytes": size, "mime_type": "text/plain"}
    upload = lean_client.post_json(server, "/uploads", begun)

    def send_part(offset: int) -> str:
        length = min(_PART, size - offset)
        send = lean_client.from_file(source, offset, length)
        path = f"/uploads/{upload['id']}/parts"
        return str(lean_client.post_form(server, path, {}, "data", length, send)["id"])

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        parts = list(pool.map(send_part, range(0, size, _PART)))
    path = f"/uploads/{upload['id']}/complete"
    return str(lean_client.post_json(server, path, {"part_ids": parts})["file"]["id"])


def by_sdk(server: Linarite, source: Path) -> str:
    """As a user does it: parts of 64 MiB, one after the other."""
    done = server.sdk().uploads.upload_file_chunked(
        file=source, mime_type="text/plain", purpose="assistants"
    )
    if done.file is None:
        raise RuntimeError(f"The upload ended as {done.status}.")
    return done.file.id


def _upload_rate(server: Linarite, source: Path, upload: Upload) -> float:
    made: list[str] = []
    rate = _rate(source.stat().st_size, lambda: made.append(upload(server, source)))
    server.sdk().files.delete(made[0])
    return rate


def _rate(size: int, move: Callable[[], object]) -> float:
    """MB/s of moving `size` bytes until they are on the disk, from a disk with nothing to write."""
    os.sync()
    began = time.monotonic()
    move()
    os.sync()
    return size / 1e6 / (time.monotonic() - began)


def _fill(file: Path, mib: int) -> None:
    """Write bytes that nothing can compress."""
    piece = os.urandom(_MIB)
    with file.open("wb") as out:
        for number in range(mib):
            out.write(number.to_bytes(8, "big") + piece[8:])


def _api(server: Linarite) -> int:
    return child_named(server.process, "linarite-api")


if __name__ == "__main__":
    parser = script.parser(__doc__, mib=1024)
    parser.add_argument("--large", action="store_true", help="9 GB, once, instead of the rest")
    options = parser.parse_args()
    if options.large:
        script.run("transfer_large", options, measure_large)
    script.run("transfer", options, measure)
