"""Where the chunks of an ingestion job lie, and by which definition they came there."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    op.add_column("ingestion_jobs", sa.Column("place", sa.Text(), nullable=True))
    op.add_column("ingestion_jobs", sa.Column("filled_by", sa.Text(), nullable=True))
