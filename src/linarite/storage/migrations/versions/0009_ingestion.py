"""The tables of ingestion jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_IS_OPEN = sa.text("status IN ('notRunning', 'running')")


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ingestion_jobs",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("index_name", sa.String(length=110), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("interval_hours", sa.BigInteger(), nullable=True),
        sa.Column("next_run_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ingestion_jobs")),
        sa.UniqueConstraint("resource", "id", name=op.f("uq_ingestion_jobs_resource_id")),
        sa.UniqueConstraint(
            "resource", "index_name", name=op.f("uq_ingestion_jobs_resource_index_name")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ingestion_jobs_resource_seq", "ingestion_jobs", ["resource", "seq"])
    op.create_index("ix_ingestion_jobs_next_run_at", "ingestion_jobs", ["next_run_at"])
    op.create_table(
        "ingestion_runs",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("job", _key(), nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["ingestion_jobs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ingestion_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_ingestion_runs_id")),
    )
    op.create_index("ix_ingestion_runs_job_seq", "ingestion_runs", ["job", "seq"])
    op.create_index(
        "uq_ingestion_runs_job_open",
        "ingestion_runs",
        ["job"],
        unique=True,
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
    op.create_table(
        "ingestion_run_warnings",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("run", _key(), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["ingestion_runs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ingestion_run_warnings")),
        sa.UniqueConstraint("run", "document", name=op.f("uq_ingestion_run_warnings_run_document")),
    )
