"""Places of stored completions that are never given again."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply; PostgreSQL gives none twice as it is."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table(
            "stored_completions", recreate="always", table_kwargs={"sqlite_autoincrement": True}
        ):
            pass
