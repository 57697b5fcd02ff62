"""A function that locks consumers' checkpoints and reads what a batch is judged by."""

from shared.eventlog.migrate import run_sql

revision: str = "log_0012"
down_revision: str | None = "log_0011"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("An event log is not taken back; restore a backup made before the migration.")
