"""The zones of an owned product's and a scheduled agreement's first days."""

from shared.eventlog.migrate import run_sql

revision: str = "distribution_0004"
down_revision: str | None = "distribution_0003"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
