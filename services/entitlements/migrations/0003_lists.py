"""What makes the list of pools fast: their assigned seats and the text that is searched."""

from shared.eventlog.migrate import run_sql

revision: str = "entitlements_0003"
down_revision: str | None = "entitlements_0002"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
