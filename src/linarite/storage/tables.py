"""Every table, in one place.

`seq` is the order of creation and the keyset that lists page by; `id` is what the wire shows.
Times are Unix seconds. A blob is bytes as a list of extents (an object's key and its length), kept
as long as a row of `blob_uses` names it.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_time = sa.BigInteger
_bytes = sa.BigInteger


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", _seq, primary_key=True, autoincrement=True)


api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # SHA-256 of the key, hex
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),  # key1 or key2; serve puts its own as key1
    sa.Column("prefix", sa.String(8), nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.UniqueConstraint("resource", "name"),
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("bytes", _bytes, nullable=False),
    sa.Column("sha256", sa.String(64)),  # null for a blob put together from parts
    sa.Column("created_at", _time, nullable=False),
)

blob_extents = sa.Table(
    "blob_extents",
    metadata,
    sa.Column("blob_id", sa.ForeignKey("blobs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),  # an object of the blob store
    sa.Column("bytes", _bytes, nullable=False),
)

blob_uses = sa.Table(
    "blob_uses",
    metadata,
    sa.Column("blob_id", sa.ForeignKey("blobs.id"), primary_key=True),
    sa.Column("user", sa.String(100), primary_key=True),  # "file:file-…", "batch:batch_…"
)

files = sa.Table(
    "files",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("status_details", sa.Text),
    sa.Column("error_code", sa.String(32)),  # of the contract's ErrorCode, in status `error`
    sa.Column("bytes", _bytes),
    sa.Column("blob_id", sa.ForeignKey("blobs.id")),
    sa.Column("source_url", sa.Text),  # of an import that still runs; encrypted, it may be a SAS
    sa.Column("charged_bytes", _bytes, nullable=False, server_default="0"),  # in `usage`
    sa.Column("created_at", _time, nullable=False),
    sa.Column("expires_at", _time, index=True),
    sa.Index("ix_files_resource_seq", "resource", "seq"),
    sa.Index("ix_files_resource_purpose_seq", "resource", "purpose", "seq"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("resource", sa.String(64), nullable=False, index=True),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("mime_type", sa.Text, nullable=False),
    sa.Column("bytes", _bytes, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("file_id", sa.String(80)),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("expires_at", _time, nullable=False),
    sa.Column("file_expires_after", sa.Integer),  # seconds that the finished file lives
    sa.Column("stored_bytes", _bytes, nullable=False, server_default="0"),  # of all its parts
    sa.Column("charged_bytes", _bytes, nullable=False, server_default="0"),  # in `usage`
    sa.Index("ix_uploads_status_expires_at", "status", "expires_at"),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("upload_id", sa.ForeignKey("uploads.id"), nullable=False, index=True),
    sa.Column("block_id", sa.String(32), nullable=False),
    sa.Column("key", sa.String(64), nullable=False, unique=True),  # an object of the blob store
    sa.Column("bytes", _bytes, nullable=False),
    sa.Column("created_at", _time, nullable=False),
)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("bytes", _bytes, nullable=False),  # of its files and open uploads
)

deployments = sa.Table(
    "deployments",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(200), nullable=False),  # the name that requests use
    sa.Column("resource", sa.String(64), nullable=False),  # "*": of the settings file, for all
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("sku", sa.String(64), nullable=False),
    sa.Column("scale_type", sa.String(16), nullable=False),
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("arm", sa.JSON, nullable=False),  # what only Azure Resource Manager's form has
    sa.Column("enqueued_token_limit", sa.BigInteger, nullable=False),
    sa.Column("requests_per_minute", sa.BigInteger),  # null: any number
    sa.Column("tokens_per_minute", sa.BigInteger),
    sa.Column("deterministic", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("updated_at", _time, nullable=False),
    sa.UniqueConstraint("resource", "id"),
)

# The minute that each deployment with a rate limit is in, and what it was asked for in it.
rate_windows = sa.Table(
    "rate_windows",
    metadata,
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("deployment", sa.String(200), primary_key=True),
    sa.Column("began_at", _time, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("input_file_id", sa.String(80), nullable=False),
    sa.Column("input_blob_id", sa.ForeignKey("blobs.id")),  # null once nothing reads it any more
    sa.Column("endpoint", sa.String(64), nullable=False),
    sa.Column("completion_window", sa.String(16), nullable=False),
    sa.Column("metadata", sa.JSON),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("run", sa.Integer, nullable=False, server_default="0"),  # the fence: rises per run
    sa.Column("deployment", sa.String(200)),  # its name, from the first line or after validation
    sa.Column("deployment_owner", sa.String(64)),  # the resource it belongs to, "*" for all
    sa.Column("enqueued_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("errors", sa.JSON),  # [{code, message, param, line}, …]
    sa.Column("output_file_id", sa.String(80)),
    sa.Column("error_file_id", sa.String(80)),
    sa.Column("total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("completed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("expires_at", _time),
    sa.Column("in_progress_at", _time),
    sa.Column("finalizing_at", _time),
    sa.Column("completed_at", _time),
    sa.Column("failed_at", _time),
    sa.Column("expired_at", _time),
    sa.Column("cancelling_at", _time),
    sa.Column("cancelled_at", _time),
    sa.Column("engine_away_at", _time),  # since when its engine is seen to be away; null: it is not
    sa.Index("ix_batches_resource_seq", "resource", "seq"),
    sa.Index("ix_batches_resource_created_at_seq", "resource", "created_at", "seq"),
    sa.Index("ix_batches_deployment_status", "deployment", "status"),
    sa.Index("ix_batches_status_expires_at", "status", "expires_at"),
    sa.Index("ix_batches_output_file_id", "output_file_id"),
    sa.Index("ix_batches_error_file_id", "error_file_id"),
)

batch_answers = sa.Table(
    "batch_answers",
    metadata,
    _sequence(),  # the order of finishing
    sa.Column("batch", sa.ForeignKey("batches.seq"), nullable=False),
    sa.Column("line", sa.Integer, nullable=False),  # which request of the input, from 0
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the output line; compressed when long
    sa.UniqueConstraint("batch", "line"),
)

fine_tuning_jobs = sa.Table(
    "fine_tuning_jobs",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("run", sa.Integer, nullable=False, server_default="0"),  # the fence: rises per run
    sa.Column("model", sa.Text, nullable=False),  # what it starts from, never an alias
    sa.Column("base_model", sa.Text, nullable=False),  # the base model under that
    sa.Column("adapter", sa.JSON),  # of a tuned start: {file name: blob id}; null once it ended
    sa.Column("method", sa.String(16), nullable=False),
    sa.Column("hyperparameters", sa.JSON, nullable=False),  # -1 for what the service is to choose
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("suffix", sa.String(40)),
    sa.Column("integrations", sa.JSON),
    sa.Column("training_file_id", sa.String(80), nullable=False),
    sa.Column("training_blob_id", sa.ForeignKey("blobs.id")),  # null once nothing reads it
    sa.Column("validation_file_id", sa.String(80)),
    sa.Column("validation_blob_id", sa.ForeignKey("blobs.id")),
    sa.Column("result_file_id", sa.String(80)),
    sa.Column("fine_tuned_model", sa.Text),  # once it has succeeded
    sa.Column("steps", sa.Integer),  # how many there will be, once that is planned
    sa.Column("log_id", sa.String(32)),  # the folder whose log is read up to `log_position`
    sa.Column("log_position", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("trained_tokens", sa.BigInteger),
    sa.Column("error", sa.JSON),  # {code, message, param}
    sa.Column("created_at", _time, nullable=False),
    sa.Column("finished_at", _time),
    sa.Column("estimated_finish", _time),
    sa.Index("ix_fine_tuning_jobs_resource_seq", "resource", "seq"),
    sa.Index("ix_fine_tuning_jobs_resource_status", "resource", "status"),
    sa.Index("ix_fine_tuning_jobs_result_file_id", "result_file_id"),
)

fine_tuning_events = sa.Table(
    "fine_tuning_events",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("job", sa.ForeignKey("fine_tuning_jobs.seq"), nullable=False),
    sa.Column("step", sa.Integer),  # of a metrics event; null for messages
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.JSON),
    sa.Column("created_at", _time, nullable=False),
    sa.UniqueConstraint("job", "step"),
    sa.Index("ix_fine_tuning_events_job_seq", "job", "seq"),
)

fine_tuning_steps = sa.Table(
    "fine_tuning_steps",
    metadata,
    sa.Column("job", sa.ForeignKey("fine_tuning_jobs.seq"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("metrics", sa.JSON, nullable=False),
)

fine_tuning_checkpoints = sa.Table(
    "fine_tuning_checkpoints",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False, unique=True),
    sa.Column("job", sa.ForeignKey("fine_tuning_jobs.seq"), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("files", sa.JSON, nullable=False),  # of the adapter: {file name: blob id}
    sa.Column("created_at", _time, nullable=False),
    sa.UniqueConstraint("job", "step"),
)

# A list by metadata or model reads one range of `stored_completion_labels`, in the order of the
# list, whatever else there is; by several it probes those that bear the rarest mark, in turn, and
# where few of them bear the others it takes `stored_completion_bitmaps`, of 32,768 neighbours each.
# The last changes of a mark's are beside its count, so that no block is written for a bit. Each
# completion has a label for every metadata pair and for every name it may be asked by. A `mark` is
# the 16 bytes that a digest makes of resource, label and value, so that long values do not make the
# index wide. How many completions bear a mark is kept in `stored_completion_counts`, and how many
# a resource has in `stored_completion_usage`, in the transactions that add and remove them: no
# `total` is ever counted over a million rows. Labels have no foreign key, for their table has no
# index by completion: the marks to be removed follow from a completion's own row. No `seq` is given
# twice, not even the last one after a deletion: exports remember places.
stored_completions = sa.Table(
    "stored_completions",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(80), nullable=False),
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("deployment", sa.String(200), nullable=False),
    sa.Column("created", _time, nullable=False),  # by the answer; lists go by it, then by seq
    sa.Column("stored_bytes", _bytes, nullable=False),  # of the two last columns
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("completion", sa.LargeBinary, nullable=False),  # JSON; compressed when long
    sa.Column("messages", sa.LargeBinary, nullable=False),  # the request's, so too
    sa.UniqueConstraint("resource", "id"),
    sa.Index("ix_stored_completions_resource_created_seq", "resource", "created", "seq"),
    sqlite_autoincrement=True,
)

stored_completion_labels = sa.Table(
    "stored_completion_labels",
    metadata,
    sa.Column("mark", sa.LargeBinary, primary_key=True),
    sa.Column("created", _time, primary_key=True, autoincrement=False),
    sa.Column("completion", sa.BigInteger, primary_key=True, autoincrement=False),  # its seq
    sqlite_with_rowid=False,
)

stored_completion_counts = sa.Table(
    "stored_completion_counts",
    metadata,
    sa.Column("mark", sa.LargeBinary, primary_key=True),
    sa.Column("completions", sa.BigInteger, nullable=False),
    sa.Column("recent", sa.LargeBinary),  # what no bitmap has yet; NULL where there are none
    sqlite_with_rowid=False,
)

stored_completion_bitmaps = sa.Table(
    "stored_completion_bitmaps",
    metadata,
    sa.Column("mark", sa.LargeBinary, primary_key=True),
    sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),  # seq / 32,768
    sa.Column("bits", sa.LargeBinary, nullable=False),  # a bit a seq; compressed where few are set
    sa.Column("times", sa.LargeBinary, nullable=False),  # earliest and latest of every 256 seqs
    sa.Column("earliest", _time, nullable=False),
    sa.Column("latest", _time, nullable=False),
    sqlite_with_rowid=False,
)

stored_completion_usage = sa.Table(
    "stored_completion_usage",
    metadata,
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("completions", sa.BigInteger, nullable=False),
    sa.Column("bytes", _bytes, nullable=False),
)

stored_completion_exports = sa.Table(
    "stored_completion_exports",
    metadata,
    sa.Column("file_id", sa.String(80), primary_key=True),  # which is being made; until it is
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("newest", sa.BigInteger, nullable=False),  # the last `seq` when it was asked for
)

# An index belongs to the job whose id its name is made of; a job that is being deleted keeps both
# until nothing of it is left. No `seq` is given twice, as tasks go by it. The definition has
# secrets in it and is encrypted as a whole; what lists and refreshes look at stands beside it.
ingestion_jobs = sa.Table(
    "ingestion_jobs",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(100), nullable=False),  # the caller chose it
    sa.Column("resource", sa.String(64), nullable=False),
    sa.Column("index_name", sa.String(110), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("workspace_id", sa.Text),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("interval_hours", sa.BigInteger),  # null: it is not refreshed
    sa.Column("next_run_at", _time),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("deleted_at", _time),  # when it was asked for
    sa.Column("place", sa.Text),  # the target that its chunks lie in; null: none yet
    sa.Column("filled_by", sa.Text),  # the definition, encrypted, by which they came there
    sa.UniqueConstraint("resource", "id"),
    sa.UniqueConstraint("resource", "index_name"),
    sa.Index("ix_ingestion_jobs_resource_seq", "resource", "seq"),
    sa.Index("ix_ingestion_jobs_next_run_at", "next_run_at"),
    sqlite_autoincrement=True,
)

_RUN_IS_OPEN = sa.text("status IN ('notRunning', 'running')")

ingestion_runs = sa.Table(
    "ingestion_runs",
    metadata,
    _sequence(),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("job", sa.ForeignKey("ingestion_jobs.seq"), nullable=False),
    sa.Column("trigger", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("stages", sa.JSON, nullable=False),  # as the wire shows them
    sa.Column("error", sa.JSON),  # {message, innerErrors}
    sa.Column("created_at", _time, nullable=False),
    sa.Column("started_at", _time),
    sa.Column("cancelled_at", _time),  # when it was asked for; its worker ends it then
    sa.Column("finished_at", _time),
    sa.Index("ix_ingestion_runs_job_seq", "job", "seq"),
    sa.Index(
        "uq_ingestion_runs_job_open",
        "job",
        unique=True,
        sqlite_where=_RUN_IS_OPEN,
        postgresql_where=_RUN_IS_OPEN,
    ),
)

ingestion_run_warnings = sa.Table(
    "ingestion_run_warnings",
    metadata,
    _sequence(),
    sa.Column("run", sa.ForeignKey("ingestion_runs.seq"), nullable=False),
    sa.Column("document", sa.String(64), nullable=False),  # SHA-256 of its key
    sa.Column("text", sa.Text, nullable=False),
    sa.UniqueConstraint("run", "document"),
)

# What is known of each document of an ingestion job, and of what of it lies in the target.
ingestion_documents = sa.Table(
    "ingestion_documents",
    metadata,
    _sequence(),
    sa.Column("job", sa.ForeignKey("ingestion_jobs.seq"), nullable=False),
    sa.Column("id", sa.String(32), nullable=False),  # what its chunks' ids begin with
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),  # as listed last
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("content_type", sa.Text),
    sa.Column("bytes", _bytes, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("lane", sa.String(80)),  # the task that works on it; null: none
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),  # by dead workers
    sa.Column("digest", sa.String(64)),  # of what is wholly in the target; null: nothing is
    sa.Column("fingerprint", sa.String(64)),  # of how it was made, when it was settled last
    sa.Column("chunks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("chunks_most", sa.Integer, nullable=False, server_default="0"),  # may be there
    sa.Column("error", sa.Text),
    sa.Column("run", sa.String(36)),  # that settled it last
    sa.Column("settled_at", _time),
    sa.UniqueConstraint("job", "id"),
    sa.Index("ix_ingestion_documents_job_state_seq", "job", "state", "seq"),
    sa.Index("ix_ingestion_documents_lane", "lane"),
)

# Vectors that a job's texts had, so that no text is embedded twice.
ingestion_embeddings = sa.Table(
    "ingestion_embeddings",
    metadata,
    _sequence(),
    sa.Column("job", sa.ForeignKey("ingestion_jobs.seq"), nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # SHA-256 of the model's name and the text
    sa.Column("vector", sa.LargeBinary, nullable=False),  # floats of 4 bytes, little-endian
    sa.UniqueConstraint("job", "digest"),
)

# What crawls saved in this server's own containers: a container is what has rows, no more.
ingestion_pages = sa.Table(
    "ingestion_pages",
    metadata,
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("container", sa.String(130), primary_key=True),
    sa.Column("key", sa.String(700), primary_key=True),
    sa.Column("blob_id", sa.ForeignKey("blobs.id"), nullable=False),  # and its version
    sa.Column("bytes", _bytes, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("more", sa.JSON, nullable=False),  # {name: text} that the next crawl wants to know
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("seen_at", sa.Float, nullable=False),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("due_at", sa.Float, nullable=False),
)

task_schema = sa.Table(
    "task_schema",
    metadata,
    sa.Column("version", sa.String(32), primary_key=True),  # the DBOS that made its tables
)
