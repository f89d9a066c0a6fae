"""How Alembic reaches the database: over the connection that `Database.migrate` opened."""

from alembic import context

from linarite.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
