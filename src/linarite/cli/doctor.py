"""``linarite doctor``: what would keep a server from running well here, and what to do about it."""

import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import typer

from linarite.cli.data_folder import DataFolder
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data
from linarite.settings import GB, Settings

_EXTRAS = {
    "local": ("openvino_genai", "the embedded engine and models"),
    "train": ("peft", "fine-tuning"),
    "ingest": ("lancedb", "ingestion jobs"),
    "wandb": ("wandb", "telling Weights & Biases of fine-tuning jobs"),
}
_LEAST_MEMORY_BYTES = 2 * GB


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    verdict: Literal["ok", "warn", "fail"]
    what: str
    advice: str = ""


def doctor(data: Data = None, config: Config = None) -> None:
    """Check Python, disk, memory, extras, models, database and port; say what to do."""
    settings = load_settings(config, data=data)
    findings = [finding for check in CHECKS for finding in check(settings)]
    for finding in findings:
        advice = f"\n      {finding.advice}" if finding.advice else ""
        typer.echo(f"{finding.verdict:4}  {finding.what}{advice}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", f"Python {platform.python_version()}")
    if sys.platform != "linux":
        advice = "The embedded engine is tried on Linux; elsewhere use models behind an address."
        yield Finding("warn", f"System: {platform.system()}", advice)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    what = f"Disk: {free / GB:.1f} GB free at {there}"
    if free < settings.limits.free_space_bytes:
        needs = settings.limits.free_space_bytes / GB
        yield Finding("fail", what, f"No upload is taken below {needs:.1f} GB; make room.")
    elif free < 5 * GB:
        yield Finding("warn", what, "Little for uploads and models; --data puts them elsewhere.")
    else:
        yield Finding("ok", what)


def _memory(_settings: Settings) -> Iterator[Finding]:
    available = _available_memory_bytes()
    if available is None:
        return
    what = f"Memory: {available / GB:.1f} GB available"
    if available < _LEAST_MEMORY_BYTES:
        yield Finding("warn", what, "An embedded model wants 1 to 2 GB; close something.")
    else:
        yield Finding("ok", what)


def _available_memory_bytes() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def _extras(_settings: Settings) -> Iterator[Finding]:
    for extra, (module, purpose) in _EXTRAS.items():
        if find_spec(module) is None:
            advice = f"For {purpose}: pip install 'linarite[{extra}]'"
            yield Finding("warn", f"Extra {extra}: not installed", advice)
        else:
            yield Finding("ok", f"Extra {extra}: installed")


def _models(settings: Settings) -> Iterator[Finding]:
    from linarite.engines import extra

    if not extra.is_installed():
        return  # which has been said
    from linarite.engines.catalogue import CATALOGUE  # late: loads for a second
    from linarite.engines.installed import find_model

    folder = settings.resolved_models_dir
    for model_id in CATALOGUE:
        if find_model(folder, model_id) is None:
            advice = "Fetch it: linarite models pull"
            yield Finding("warn", f"Model {model_id}: not in {folder}", advice)
        else:
            yield Finding("ok", f"Model {model_id}: installed")


def _database(settings: Settings) -> Iterator[Finding]:
    import sqlalchemy as sa

    from linarite.storage.database import Database, WrongSchema

    database = Database(settings.resolved_database_url)
    what = f"Database: {database.url!r}"
    if database.is_sqlite and not Path(str(database.url.database)).is_file():
        yield Finding("ok", f"{what} (made at the first start)")
        return
    try:
        database.check_version()
    except WrongSchema as error:
        yield Finding("warn", what, error.message)
    except sa.exc.OperationalError as error:
        yield Finding("fail", what, f"It does not answer: {error.orig}")
    else:
        yield Finding("ok", what)
    finally:
        database.close()


def _port(settings: Settings) -> Iterator[Finding]:
    from linarite.cli.listening import listen

    what = f"Port {settings.server.port} of {settings.server.host}"
    running = DataFolder(settings.data).announced()
    if running is not None:
        yield Finding("ok", f"A server of this folder runs: {running.endpoint}")
        return
    try:
        listening: socket.socket = listen(settings.server)
    except Refused as error:
        yield Finding("fail", what, str(error))
    else:
        listening.close()
        yield Finding("ok", f"{what}: free")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _disk,
    _memory,
    _extras,
    _models,
    _database,
    _port,
)
