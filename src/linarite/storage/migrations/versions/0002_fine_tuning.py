"""The tables of tuning jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    _create_jobs()
    _create_events()
    op.create_table(
        "fine_tuning_steps",
        sa.Column("job", _key(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["fine_tuning_jobs.seq"]),
        sa.PrimaryKeyConstraint("job", "step", name=op.f("pk_fine_tuning_steps")),
    )
    op.create_table(
        "fine_tuning_checkpoints",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("job", _key(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["fine_tuning_jobs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fine_tuning_checkpoints")),
        sa.UniqueConstraint("id", name=op.f("uq_fine_tuning_checkpoints_id")),
        sa.UniqueConstraint("job", "step", name=op.f("uq_fine_tuning_checkpoints_job_step")),
    )


def _create_jobs() -> None:
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("run", sa.Integer(), server_default="0", nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("adapter", sa.JSON(), nullable=True),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("suffix", sa.String(length=40), nullable=True),
        sa.Column("integrations", sa.JSON(), nullable=True),
        sa.Column("training_file_id", sa.String(length=80), nullable=False),
        sa.Column("training_blob_id", sa.String(length=32), nullable=True),
        sa.Column("validation_file_id", sa.String(length=80), nullable=True),
        sa.Column("validation_blob_id", sa.String(length=32), nullable=True),
        sa.Column("result_file_id", sa.String(length=80), nullable=True),
        sa.Column("fine_tuned_model", sa.Text(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("log_id", sa.String(length=32), nullable=True),
        sa.Column("log_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("estimated_finish", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["training_blob_id"], ["blobs.id"]),
        sa.ForeignKeyConstraint(["validation_blob_id"], ["blobs.id"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fine_tuning_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_fine_tuning_jobs_id")),
    )
    for name, columns in (
        ("ix_fine_tuning_jobs_resource_seq", ["resource", "seq"]),
        ("ix_fine_tuning_jobs_resource_status", ["resource", "status"]),
        ("ix_fine_tuning_jobs_result_file_id", ["result_file_id"]),
    ):
        op.create_index(name, "fine_tuning_jobs", columns, unique=False)


def _create_events() -> None:
    op.create_table(
        "fine_tuning_events",
        sa.Column("seq", _key(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("job", _key(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["fine_tuning_jobs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fine_tuning_events")),
        sa.UniqueConstraint("id", name=op.f("uq_fine_tuning_events_id")),
        sa.UniqueConstraint("job", "step", name=op.f("uq_fine_tuning_events_job_step")),
    )
    op.create_index(
        "ix_fine_tuning_events_job_seq", "fine_tuning_events", ["job", "seq"], unique=False
    )
