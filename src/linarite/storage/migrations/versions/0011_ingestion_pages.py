"""Pages that crawls saved in this server's own containers."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ingestion_pages",
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("container", sa.String(length=130), nullable=False),
        sa.Column("key", sa.String(length=700), nullable=False),
        sa.Column("blob_id", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("more", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"]),
        sa.PrimaryKeyConstraint("resource", "container", "key", name=op.f("pk_ingestion_pages")),
    )
