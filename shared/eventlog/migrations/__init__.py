"""The engine's tables and functions, for alembic."""
