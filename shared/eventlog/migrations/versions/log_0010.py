"""Refusals that can be looked up: by who was refused, and those that routes made before a decider was asked."""

from shared.eventlog.migrate import run_sql

revision: str = "log_0010"
down_revision: str | None = "log_0009"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("An event log is not taken back; restore a backup made before the migration.")
