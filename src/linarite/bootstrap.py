"""The composition root: settings in, wired parts out. Nothing else builds a service.

The API and the worker build the same parts; what only one of them uses costs the other nothing
until it is used.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from linarite.clock import SystemClock
from linarite.engines.installed import folder_of, list_models
from linarite.engines.place import ModelPlace, host_socket, models_folder
from linarite.engines.refusals import ExtraMissing
from linarite.engines.tokens import Tokens
from linarite.errors import LinariteError
from linarite.http.auth import Keys
from linarite.http.metrics import Metrics
from linarite.http.wiring import Parts
from linarite.indexing import extra as ingestion_extra
from linarite.outbound import Outbound
from linarite.resources.batches.deployed import DeployedEngines, TokenCounts
from linarite.resources.batches.service import Batches
from linarite.resources.batches.tasks import Work
from linarite.resources.deployments.service import Deployments
from linarite.resources.files import tasks as file_tasks
from linarite.resources.files.service import Files
from linarite.resources.fine_tuning.integrations import Tracking
from linarite.resources.fine_tuning.service import FineTuning
from linarite.resources.fine_tuning.tasks import Training
from linarite.resources.fine_tuning.tasks import Work as TuningWork
from linarite.resources.fine_tuning.tuned import TunedModels
from linarite.resources.indexes.service import Indexes
from linarite.resources.inference.filtering import ContentFilter
from linarite.resources.inference.grounding import Grounding
from linarite.resources.inference.limits import RateLimits
from linarite.resources.inference.service import Inference
from linarite.resources.ingestion import refreshing
from linarite.resources.ingestion.assembly import Assembly
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tasks import Work as IngestionWork
from linarite.resources.models.records import ModelRecord
from linarite.resources.models.service import Models
from linarite.resources.stored_completions import tasks as stored_tasks
from linarite.resources.stored_completions.exporting import Exports
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.resources.stored_completions.writing import GroupWriter
from linarite.resources.uploads import tasks as upload_tasks
from linarite.resources.uploads.service import Uploads
from linarite.settings import ModelEntry, Settings
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.storage.secrets import Secrets, kept_key
from linarite.tasks.launcher import LocalLauncher
from linarite.tasks.queue import Queue
from linarite.tasks.task import Schedule, Task
from linarite.training import extra as training_extra
from linarite.wire.files import Purpose

_TRAINING_NAMES = frozenset(
    {
        "HOME",
        "LANG",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
_TRAINING_PREFIXES = ("LC_", "CUDA_", "HIP_", "MKL_", "NVIDIA_", "OMP_", "PYTORCH_", "ROCR_")


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


@dataclass(frozen=True)
class _Base:
    """What every service stands on."""

    settings: Settings
    database: Database
    blobs: BlobStore
    queue: Queue
    clock: SystemClock
    secrets: Secrets
    files: Files
    metrics: Metrics


def build(settings: Settings) -> Built:
    """Wire every part for `settings`; opens no connection and starts nothing."""
    base = _base(settings)
    database, blobs, files = base.database, base.blobs, base.files
    queue, clock, metrics, limits = base.queue, base.clock, base.metrics, settings.limits
    uploads = Uploads(database, blobs, files, clock, limits)
    tuned = TunedModels(database, blobs, models_folder(settings), settings.data / "tuned")
    models = _models(settings, tuned)
    place, tokens = partial(_place, tuned), Tokens()
    deployments = Deployments(database, models, clock, settings.deployments)
    inference = Inference(deployments, place)
    rates = RateLimits(deployments, place, metrics, tokens)
    keys = Keys(database)
    indexes = Indexes(settings.data.absolute() / "indexes", limits)
    grounding = Grounding(inference, tokens, keys, indexes, settings.outbound, _addresses(settings))
    content_filter = _content_filter(settings, metrics)
    stored = StoredCompletions(database, clock, settings.stored_completions, deployments.meant)
    exports = Exports(database, files, queue, deployments.meant)
    batches = _batches(base, deployments, TokenCounts(tokens, place))
    engines = _batch_engines(settings, inference, grounding, content_filter)
    batch_work = Work(batches, engines, stored.add)
    tuning = _tuning(base, models, tuned, deployments)
    tuning_work = TuningWork(tuning, _training(settings))
    ingestion = Ingestion(
        database,
        clock,
        base.secrets,
        deployments,
        queue,
        settings,
        indexes.maker,
        _ingestion_missing,
    )
    ingestion_work = _ingestion_work(base, ingestion, deployments, inference, indexes)
    services: list[Any] = [files, uploads, models, deployments, inference, stored, batches, tuning]
    services.append(ingestion)
    writer = GroupWriter(database)
    collaborators: list[Any] = [settings, database, blobs, queue, keys, metrics, writer]
    filters = [] if content_filter is None else [content_filter]
    more = [rates, exports, indexes, grounding, *filters]
    parts: dict[type[Any], Any] = {type(one): one for one in [*collaborators, *services, *more]}
    parts[Settings] = settings  # whose own class is the one that read the file
    return Built(
        settings,
        database,
        queue,
        parts,
        tasks=[
            *file_tasks.tasks(files, Outbound(settings.outbound)),
            *stored_tasks.tasks(exports),
            *batch_work.tasks(),
            *tuning_work.tasks(),
            *Tracking(tuning, settings.wandb).tasks(),
            *ingestion_work.tasks(),
        ],
        schedules=[
            *file_tasks.schedules(files),
            *upload_tasks.schedules(uploads),
            *stored_tasks.schedules(stored),
            *batch_work.schedules(),
            *tuning_work.schedules(),
            *refreshing.schedules(ingestion),
        ],
    )


def _base(settings: Settings) -> _Base:
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    blobs = BlobStore(settings.blob_url or _folder_url(settings.data / "blobs"))
    queue, clock = Queue(database), SystemClock()
    secrets = _secrets(settings)
    files = Files(database, blobs, queue, clock, settings.limits, secrets)
    return _Base(settings, database, blobs, queue, clock, secrets, files, Metrics())


def _batches(base: _Base, deployments: Deployments, counts: TokenCounts) -> Batches:
    settings = base.settings
    batches = Batches(
        base.database,
        base.blobs,
        base.files,
        deployments,
        base.queue,
        base.clock,
        settings.limits,
        settings.batches,
        counts,
    )
    base.files.live[Purpose.BATCH_OUTPUT] = batches.live_content
    base.metrics.watch(
        "linarite_batches_without_engine",
        "Batches in progress whose engine is away.",
        batches.count_without_engine,
    )
    return batches


def _batch_engines(
    settings: Settings,
    inference: Inference,
    grounding: Grounding,
    content_filter: ContentFilter | None,
) -> DeployedEngines:
    return DeployedEngines(
        host_socket(settings.data),
        inference.place_of,
        inference.prepare,
        inference.settle,
        inference.to_store,
        grounding.ground,
        content_filter,
    )


def _tuning(
    base: _Base, models: Models, tuned: TunedModels, deployments: Deployments
) -> FineTuning:
    settings = base.settings
    tuning = FineTuning(
        base.database,
        base.blobs,
        base.files,
        models,
        tuned,
        deployments,
        base.queue,
        base.clock,
        settings.fine_tuning,
        settings.data / "wandb",
        partial(_training_missing, settings),
    )
    base.files.live[Purpose.FINE_TUNE_RESULTS] = tuning.live_results
    return tuning


def _content_filter(settings: Settings, metrics: Metrics) -> ContentFilter | None:
    given = settings.content_filter
    return None if given is None else ContentFilter(given, metrics)


def _addresses(settings: Settings) -> list[str]:
    """Where this server says that it is."""
    server = settings.server
    scheme = "http" if server.tls is None else "https"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return [*filter(None, [server.public_url]), f"{scheme}://{host}:{server.port}"]


def _models(settings: Settings, tuned: TunedModels) -> Models:
    folder = models_folder(settings)
    declared = [_declared(entry, folder) for entry in settings.models]
    return Models(partial(_installed, folder), declared, settings.aliases, tuned)


def _installed(folder: Path) -> list[ModelRecord]:
    return [
        ModelRecord(
            model.id,
            model.kind,
            path=model.folder,
            context_tokens=model.context_tokens,
            tunable=model.is_tunable,
        )
        for model in list_models(folder)
    ]


def _declared(entry: ModelEntry, folder: Path) -> ModelRecord:
    """A model of the settings file; one with a path lies in `folder` once it was added."""
    return ModelRecord(
        entry.id,
        entry.kind,
        path=None if entry.upstream else folder_of(folder, entry.id),
        upstream=entry.upstream,
        context_tokens=entry.context_tokens,
        tokenizer=entry.tokenizer,
    )


def _place(tuned: TunedModels, model: ModelRecord) -> ModelPlace:
    tuned.place(model)
    return ModelPlace(
        model.id, folder=model.path, upstream=model.upstream, tokenizer=model.tokenizer
    )


def _training(settings: Settings) -> Training:
    data = settings.data.absolute()
    return Training(
        LocalLauncher(data / "commands"),
        settings.fine_tuning.command or (sys.executable, "-m", "linarite.training"),
        _training_environment(),
        data / "fine-tuning",
        models_folder(settings),
    )


def _training_environment() -> dict[str, str]:
    """What a training command may see of the environment: nothing that could be a secret."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _TRAINING_NAMES or name.startswith(_TRAINING_PREFIXES)
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _training_missing(settings: Settings) -> LinariteError | None:
    if settings.fine_tuning.command is not None or training_extra.is_installed():
        return None
    return ExtraMissing(training_extra.MESSAGE)


def _ingestion_work(
    base: _Base,
    ingestion: Ingestion,
    deployments: Deployments,
    inference: Inference,
    indexes: Indexes,
) -> IngestionWork:
    settings = base.settings
    parts = Assembly(
        settings,
        base.database,
        base.blobs,
        base.clock,
        deployments,
        inference,
        indexes,
        host_socket(settings.data),
    )
    return IngestionWork(ingestion, parts.open)


def _ingestion_missing() -> LinariteError | None:
    return None if ingestion_extra.is_installed() else ExtraMissing(ingestion_extra.MESSAGE)


def _secrets(settings: Settings) -> Secrets:
    key = settings.secret_key
    return Secrets(kept_key(settings.data) if key is None else key.get_secret_value())


def _folder_url(folder: Path) -> str:
    return folder.absolute().as_uri()
