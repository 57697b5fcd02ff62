"""The script that alembic runs.

It applies the migrations on the connection that `shared.eventlog.migrate` hands in.
"""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="public", transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
