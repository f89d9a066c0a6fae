"""The tables of stored completions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "stored_completions",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("deployment", sa.String(length=200), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("completion", sa.LargeBinary(), nullable=False),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_stored_completions")),
        sa.UniqueConstraint("resource", "id", name=op.f("uq_stored_completions_resource_id")),
    )
    op.create_index(
        "ix_stored_completions_resource_created_seq",
        "stored_completions",
        ["resource", "created", "seq"],
        unique=False,
    )
    _create_labels()
    op.create_table(
        "stored_completion_usage",
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("completions", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource", name=op.f("pk_stored_completion_usage")),
    )


def _create_labels() -> None:
    op.create_table(
        "stored_completion_labels",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("completion", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "mark", "created", "completion", name=op.f("pk_stored_completion_labels")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stored_completion_counts",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("completions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_stored_completion_counts")),
        sqlite_with_rowid=False,
    )
