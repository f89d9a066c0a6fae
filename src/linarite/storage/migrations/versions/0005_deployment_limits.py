"""How fast a deployment answers, what it was asked for, and whether it answers one at a time."""

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
    op.create_table(
        "rate_windows",
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("deployment", sa.String(length=200), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "deployment", name=op.f("pk_rate_windows")),
    )
