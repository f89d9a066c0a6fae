"""What ingestion knows of documents, and the vectors of their texts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ingestion_documents",
        sa.Column("seq", _seq, autoincrement=True, nullable=False),
        sa.Column("job", _seq, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("content_type", sa.Text()),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lane", sa.String(length=80)),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("digest", sa.String(length=64)),
        sa.Column("fingerprint", sa.String(length=64)),
        sa.Column("chunks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("chunks_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("run", sa.String(length=36)),
        sa.Column("settled_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job"], ["ingestion_jobs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ingestion_documents")),
        sa.UniqueConstraint("job", "id", name=op.f("uq_ingestion_documents_job_id")),
    )
    op.create_index(
        "ix_ingestion_documents_job_state_seq", "ingestion_documents", ["job", "state", "seq"]
    )
    op.create_index("ix_ingestion_documents_lane", "ingestion_documents", ["lane"])
    op.create_table(
        "ingestion_embeddings",
        sa.Column("seq", _seq, autoincrement=True, nullable=False),
        sa.Column("job", _seq, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["ingestion_jobs.seq"]),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ingestion_embeddings")),
        sa.UniqueConstraint("job", "digest", name=op.f("uq_ingestion_embeddings_job_digest")),
    )
