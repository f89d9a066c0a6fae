"""How fast a deployment answers, and whether one request at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.add_column("deployments", sa.Column("requests_per_minute", sa.BigInteger(), nullable=True))
    op.add_column("deployments", sa.Column("tokens_per_minute", sa.BigInteger(), nullable=True))
    op.add_column(
        "deployments",
        sa.Column("deterministic", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
