"""A batch in which a command continues another one on the same stream."""

from shared.eventlog.migrate import run_sql

revision: str = "log_0013"
down_revision: str | None = "log_0012"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("An event log is not taken back; restore a backup made before the migration.")
