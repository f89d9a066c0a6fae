"""What an operator can set: ``linarite.toml``, ``LINARITE_…`` in the environment, the command line.

Nothing is read at import; `load` builds one `Settings` that bootstrap hands to everything else.
"""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from linarite.sections import ComputeEntry, ConnectionEntry, DatasetEntry, Name, Section

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30


class TlsFiles(Section):
    """A certificate and its key, as PEM files."""

    cert: Path
    """The certificate, with those between it and its authority."""
    key: Path
    """Its private key."""


class ServerSettings(Section):
    """``[server]``: where the server listens and how the world reaches it."""

    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback the key must have at least 32 characters."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    public_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = None
    """Base of every link the server answers (`Location`), when it stands behind a proxy."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Addresses or networks whose forwarded headers count."""
    hosts: tuple[str, ...] = ()
    """Values of the Host header that are served; empty: all."""
    tls: TlsFiles | Literal["self-signed"] | None = None
    """Files of a certificate, or `self-signed` for one of a local authority; none: plain HTTP."""
    region: str = "local"
    """What `x-ms-region` says."""


class LimitSettings(Section):
    """``[limits]``: sizes and counts; ``profile = "azure"`` brings the service's smaller ones."""

    profile: Literal["default", "azure"] = "default"
    """`azure` starts from the real service's limits; those named beside it still count."""
    file_bytes: Annotated[int, Field(gt=0)] = 9 * GB
    """The largest file."""
    batch_file_bytes: Annotated[int, Field(gt=0)] = 9 * GB
    """The largest input of a batch."""
    upload_bytes: Annotated[int, Field(gt=0)] = 9 * GB
    """The largest file that comes in parts."""
    upload_part_bytes: Annotated[int, Field(gt=0)] = 512 * MB
    """The largest part of an upload."""
    upload_seconds: Annotated[int, Field(gt=0)] = 7200
    """How long an upload may stay open."""
    open_uploads: Annotated[int, Field(gt=0)] = 1000
    """How many uploads of one resource may be open."""
    batch_lines: Annotated[int, Field(gt=0)] = 100_000
    """The most requests of a batch."""
    batch_line_bytes: Annotated[int, Field(gt=0)] = 8 * MB
    """The longest line of a batch's input."""
    fine_tune_files: Annotated[int, Field(gt=0)] | None = None
    """How many files for fine-tuning one resource may keep; none: any number."""
    batch_files: Annotated[int, Field(gt=0)] | None = None
    """How many inputs of batches that never expire; none: any number."""
    batch_files_expiring: Annotated[int, Field(gt=0)] | None = None
    """How many that expire; none: any number."""
    fine_tuning_jobs: Annotated[int, Field(gt=0)] | None = None
    """How many tuning jobs one resource may have, ended ones included; none: any number."""
    indexes: Annotated[int, Field(gt=0)] = 200
    """How many embedded indexes one resource may have."""
    json_body_bytes: Annotated[int, Field(gt=0)] = 64 * MB
    """The longest JSON body."""
    small_file_bytes: Annotated[int, Field(gt=0)] = 8 * MB
    """Files up to this size are validated before the upload is answered."""
    stored_bytes: Annotated[int, Field(gt=0)] = 200 * GB
    """How many bytes one resource may keep, open uploads and tuned models included."""
    free_space_bytes: Annotated[int, Field(ge=0)] = 1 * GB
    """No new bytes are taken while the disk has less than this free."""
    min_expires_after_seconds: Annotated[int, Field(gt=0)] = 3600
    """The shortest life of a file that `expires_after` may ask for."""
    max_expires_after_seconds: Annotated[int, Field(gt=0)] = 2_592_000
    """The longest."""

    @model_validator(mode="before")
    @classmethod
    def _profile(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("profile") == "azure":
            return {**_AZURE_LIMITS, **values}
        return values


_AZURE_LIMITS: dict[str, int] = {
    "file_bytes": 512 * MB,
    "batch_file_bytes": 200 * MB,
    "fine_tune_files": 50,
    "batch_files": 500,
    "batch_files_expiring": 10_000,
    "fine_tuning_jobs": 100,
    "min_expires_after_seconds": 1_209_600,
}


class BatchSettings(Section):
    """``[batches]``: how batches run and end."""

    expire: bool = True
    """Whether a batch still running at its `expires_at` ends as `expired`."""
    window_seconds: Annotated[int, Field(gt=0)] = 86_400
    """How long after creation that is; the contract's completion window is ``24h``."""
    fail_fast: bool = False
    """Refuse a batch over the token limit at once with 400 rather than as a failed batch."""
    running: Annotated[int, Field(gt=0)] = 8
    """How many batches one worker runs at once."""
    in_flight: Annotated[int, Field(gt=0)] = 256
    """The most requests of one batch that are out at an engine at once."""
    attempts: Annotated[int, Field(gt=0)] = 8
    """How often one line is tried before its last error is its answer."""
    cancel_seconds: Annotated[float, Field(ge=0)] = 10.0
    """How long requests that are out may come in once a batch is cancelled or has expired."""


class StoredCompletionSettings(Section):
    """``[stored_completions]``: how long stored completions are kept."""

    retention_days: Annotated[int, Field(gt=0)] | None = None
    """How many days after they were made they are deleted; none: they stay."""
    kept_bytes: Annotated[int, Field(gt=0)] | None = None
    """How many bytes of them one resource keeps, as they lie in the database; beyond that the
    oldest are deleted within a minute. None: any number."""


class FineTuningSettings(Section):
    """``[fine_tuning]``: how tuning jobs run."""

    running: Annotated[int, Field(gt=0)] = 1
    """How many jobs of one resource run at once."""
    queued: Annotated[int, Field(gt=0)] = 20
    """How many more of them may wait."""
    at_once: Annotated[int, Field(gt=0)] = 2
    """How many jobs one worker runs at once, whoever's they are."""
    command: tuple[str, ...] | None = None
    """The program that trains, given a job's folder; by default Linarite's own."""


class WandbSettings(Section):
    """``[wandb]``: Weights & Biases, for tuning jobs whose `integrations` ask for it."""

    api_key: SecretStr | None = None
    """The key of an account there, for the jobs of all resources; none: runs are kept offline."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] = "https://api.wandb.ai"
    """Where it is, for those who run a server of their own."""
    connect_seconds: Annotated[float, Field(gt=0)] = 30
    """How long it may take to begin a run there before the run is kept offline."""
    finish_seconds: Annotated[float, Field(gt=0)] = 60
    """How long the last of a run may take to get there, once its job has ended."""


class IngestionSettings(Section):
    """``[ingestion]``: how ingestion jobs run."""

    running: Annotated[int, Field(gt=0)] = 2
    """How many runs of one resource's jobs run at once."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 2
    """How many lanes of work a run has side by side at most, unless the job says."""
    most_parallel: Annotated[int, Field(ge=1, le=64)] = 16
    """The largest `instanceCount` that a job may ask for."""
    jobs: Annotated[int, Field(gt=0)] = 1000
    """How many jobs one resource may have."""
    runs: Annotated[int, Field(gt=0)] = 100
    """How many runs of a job are remembered; the oldest are forgotten as others start."""
    documents: Annotated[int, Field(gt=0)] = 1_000_000
    """How many documents a job's container may hold; with more a run fails."""
    document_bytes: Annotated[int, Field(gt=0)] = 200 * MB
    """The longest document; a longer one is left out with a warning."""
    refresh_seconds: Annotated[float, Field(gt=0)] = 30
    """How often it is looked for jobs whose refresh is due."""


class TaskSettings(Section):
    """``[tasks]``: how workers find work and each other."""

    poll_seconds: Annotated[float, Field(gt=0)] = 0.1
    """How often a worker looks for work."""
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often it says that it lives."""
    dead_after_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long it may be silent before another takes its work over."""


class EngineSettings(Section):
    """``[engines]``: the embedded engines of this machine."""

    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    """Budget for all of them together; by default half of the machine's memory."""
    slots: Annotated[int, Field(ge=8)] = 64
    """Requests that one engine answers at once."""
    start_seconds: Annotated[float, Field(gt=0)] = 120
    """How long an engine may take to start."""


class OutboundSettings(Section):
    """``[outbound]``: which addresses a caller may make this server fetch."""

    allow: tuple[str, ...] = ()
    """Networks (``10.20.0.0/16``) or hosts (``wiki.corp:443``) opened beside the public ones."""
    proxy: str | None = None
    """A proxy that downloads go through; it then decides which addresses are reached."""
    ca_bundle: Path | None = None
    """Authorities that are trusted beside the usual ones, as a PEM file."""
    identity_hosts: tuple[str, ...] = ()
    """Hosts (``*.search.windows.net``) that an ingestion job may have this server use its own
    identity at, beside those of named connections."""
    connect_seconds: Annotated[float, Field(gt=0)] = 10
    """How long a connection may take to stand."""
    read_seconds: Annotated[float, Field(gt=0)] = 60
    """How long nothing may come before a download counts as broken."""
    redirects: Annotated[int, Field(ge=0)] = 5
    """How many redirects are followed."""
    total_seconds: Annotated[float, Field(gt=0)] = 6 * 3600
    """How long one download may take in all."""
    min_bytes_per_second: Annotated[int, Field(ge=0)] = 1 * KB
    """A download slower than this over `read_seconds` is given up."""


class Upstream(Section):
    """An OpenAI-compatible server that answers for a model."""

    base_url: str
    """Its address up to and with ``/v1``."""
    model: str | None = None
    """What it calls the model; by default the same."""
    api_key_env: str | None = None
    """The environment variable that holds its key."""
    priority: bool = False
    """Whether the server takes vLLM's `priority` field, so that batches yield to chats."""
    adapters: bool = False
    """Whether the server loads LoRA adapters from this machine's data folder, as vLLM does with
    `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING`. The model can be tuned then, once its
    weights are added here under the same id."""


class ContentFilterSettings(Section):
    """``[content_filter]``: a moderation endpoint that judges prompts and answers; none without."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    """An OpenAI-compatible server with `POST /moderations`, up to and with ``/v1``."""
    model: str = "omni-moderation-latest"
    """What it calls the model that judges."""
    api_key_env: str | None = None
    """The environment variable that holds its key."""
    filtered_from: Literal["low", "medium", "high", "never"] = "medium"
    """From which severity on a prompt is refused and an answer removed; `never` only tells."""
    when_away: Literal["refuse", "pass"] = "refuse"
    """What happens while it does not answer: 503, or prompts and answers pass unfiltered."""
    seconds: Annotated[float, Field(gt=0)] = 10
    """How long it may be silent before it counts as away."""
    window_characters: Annotated[int, Field(ge=1)] = 400
    """How much of a stream is held back to be judged at once."""


class ModelEntry(Section):
    """One ``[[models]]``: a base model at a path on this machine or behind an address."""

    id: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")
    ]
    """What requests and deployments call it."""
    path: Path | None = None
    """A Hugging Face folder or a GGUF file on this machine, for the embedded engine."""
    upstream: Upstream | None = None
    """The server that answers for it."""
    kind: Literal["chat", "embedding"] = "chat"
    """What it does."""
    tokenizer: Path | None = None
    """A ``tokenizer.json`` (or its folder) for exact counts of an upstream model's tokens."""
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens of prompt and answer together."""

    @model_validator(mode="after")
    def _one_place(self) -> "ModelEntry":
        if (self.path is None) == (self.upstream is None):
            raise ValueError(f"model {self.id!r} needs either `path` or `upstream`")
        return self


class DeploymentEntry(Section):
    """One ``[[deployments]]``: a name that requests use, and the model behind it."""

    name: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    ]
    """What requests call it."""
    model: str
    """Id of the model that answers."""
    enqueued_token_limit: Annotated[int, Field(gt=0)] = 200_000_000
    """How many tokens the batches of all resources may have waiting for it together."""
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    """How many requests it answers in a minute, whoever asks; batches are not counted. None: any
    number."""
    tokens_per_minute: Annotated[int, Field(gt=0)] | None = None
    """How many tokens they may come to, prompts and the longest answers asked for together. None:
    any number."""
    deterministic: bool = False
    """Whether it answers one request at a time, so that a seed gives the same answer again."""


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="LINARITE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data: Path = Path("linarite-data")
    """The folder of everything that is kept, and is not elsewhere by the settings below."""
    database_url: str | None = None
    """SQLAlchemy URL; by default SQLite in the data folder."""
    blob_url: str | None = None
    """``s3://…``, ``az://…``, ``gs://…``, ``file:///…``; by default ``DATA/blobs``."""
    api_key: SecretStr | None = None
    """The default resource's key; by default made once and kept in ``DATA/api-key``."""
    secret_key: SecretStr | None = None
    """Fernet key for secrets at rest; by default kept in ``DATA/secret-key``. Several machines on
    one database need the same."""
    models_dir: Path | None = None
    """Where pulled and added models lie; by default ``models`` in the data folder."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """How logs look: `auto` is text on a terminal and JSON elsewhere."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    batches: BatchSettings = BatchSettings()
    stored_completions: StoredCompletionSettings = StoredCompletionSettings()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    wandb: WandbSettings = WandbSettings()
    ingestion: IngestionSettings = IngestionSettings()
    tasks: TaskSettings = TaskSettings()
    engines: EngineSettings = EngineSettings()
    outbound: OutboundSettings = OutboundSettings()
    content_filter: ContentFilterSettings | None = None
    models: tuple[ModelEntry, ...] = ()
    deployments: tuple[DeploymentEntry, ...] = ()
    aliases: dict[str, str] = {}
    """``[aliases]``: other names, each for a model or a deployment."""
    connections: dict[Name, ConnectionEntry] = {}
    """``[connections.NAME]``: services that ingestion jobs may use, for `connectionId`, of which
    the last segment counts."""
    datasets: dict[Name, DatasetEntry] = {}
    """``[datasets.NAME]``: documents that ingestion jobs may read, for `datasetId`: the bare name,
    or an id with ``/data/NAME/versions/…`` in it."""
    computes: dict[Name, ComputeEntry] = {}
    """``[computes.NAME]``: how much of this server an ingestion job may take, for `computeId`, of
    which the last segment counts."""

    @field_validator("api_key")
    @classmethod
    def _long_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 16:
            raise ValueError("the API key must have at least 16 characters")
        return key

    @model_validator(mode="after")
    def _longer_key_outside(self) -> "Settings":
        outside = self.server.host not in {"127.0.0.1", "::1", "localhost"}
        if outside and self.api_key and len(self.api_key.get_secret_value()) < 32:
            raise ValueError(
                "the API key must have at least 32 characters when the server listens beyond "
                f"loopback ({self.server.host})"
            )
        return self

    @property
    def resolved_database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'linarite.sqlite3'}"

    @property
    def resolved_models_dir(self) -> Path:
        """The folder of pulled and added models."""
        return self.models_dir or self.data.absolute() / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


_USUAL_FILE = Path("linarite.toml")


def settings_file(config: Path | None = None) -> Path:
    """`config`, else what ``LINARITE_CONFIG`` names, else ``linarite.toml`` here, if any."""
    return config or Path(os.environ.get("LINARITE_CONFIG") or _USUAL_FILE)


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """The settings of this server.

    Args:
        config: the TOML file; by default ``LINARITE_CONFIG`` or ``linarite.toml`` here, if any.
        overrides: what the command line said; nested sections as dicts.

    Raises:
        pydantic.ValidationError: a setting is unknown or out of range.
        FileNotFoundError: `config` was named and is not there.
    """
    file = settings_file(config)
    if not file.is_file() and file != _USUAL_FILE:
        raise FileNotFoundError(f"there is no settings file {file}")

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    return _FromFile(**overrides)
