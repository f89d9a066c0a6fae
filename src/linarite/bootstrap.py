"""The composition root: settings in, wired parts out. Nothing else builds a service.

The API and the worker build the same parts; what only one of them uses costs the other nothing
until it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linarite.clock import SystemClock
from linarite.http.auth import Keys
from linarite.http.metrics import Metrics
from linarite.http.outbound import Outbound
from linarite.http.wiring import Parts
from linarite.resources.files import tasks as file_tasks
from linarite.resources.files.service import Files
from linarite.resources.uploads import tasks as upload_tasks
from linarite.resources.uploads.service import Uploads
from linarite.settings import Settings
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.storage.secrets import Secrets, kept_key
from linarite.tasks.queue import Queue
from linarite.tasks.task import Schedule, Task


@dataclass(frozen=True)
class Built:
    """A whole server's parts.

    `parts` are the services and collaborators by class, as routes ask for them; `tasks` and
    `schedules` are what a worker performs.
    """

    settings: Settings
    database: Database
    queue: Queue
    parts: Parts
    tasks: Sequence[Task]
    schedules: Sequence[Schedule]


def build(settings: Settings) -> Built:
    """Wire every part for `settings`; opens no connection and starts nothing."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    blobs = BlobStore(settings.blob_url or _folder_url(settings.data / "blobs"))
    queue = Queue(database)
    clock, limits = SystemClock(), settings.limits
    outbound = Outbound(settings.outbound)
    files = Files(database, blobs, queue, clock, limits, _secrets(settings))
    uploads = Uploads(database, blobs, files, clock, limits)
    services: list[Any] = [files, uploads]
    collaborators: list[Any] = [settings, database, blobs, queue, Keys(database), Metrics()]
    parts: dict[type[Any], Any] = {type(one): one for one in [*collaborators, *services]}
    parts[Settings] = settings  # whose own class is the one that read the file
    return Built(
        settings,
        database,
        queue,
        parts,
        tasks=[*file_tasks.tasks(files, outbound)],
        schedules=[*file_tasks.schedules(files), *upload_tasks.schedules(uploads)],
    )


def _secrets(settings: Settings) -> Secrets:
    key = settings.secret_key
    return Secrets(kept_key(settings.data) if key is None else key.get_secret_value())


def _folder_url(folder: Path) -> str:
    return folder.absolute().as_uri()
