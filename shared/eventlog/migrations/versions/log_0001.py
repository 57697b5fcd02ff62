"""The event log's tables and its append function."""

from pathlib import Path

from shared.eventlog.migrate import run_sql

revision: str = "log_0001"
down_revision: str | None = None
branch_labels: tuple[str, ...] = ("log",)
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)
    run_sql(str(Path(__file__).with_name("append.sql")))


def downgrade() -> None:
    raise RuntimeError("An event log is not taken back; restore a backup made before the migration.")
