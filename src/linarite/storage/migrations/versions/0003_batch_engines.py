"""Since when the engine of a batch is away."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column("batches", sa.Column("engine_away_at", sa.BigInteger(), nullable=True))
