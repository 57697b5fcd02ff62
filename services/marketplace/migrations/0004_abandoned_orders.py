"""Orders that were abandoned, and an index for a partner's orders of one status."""

from shared.eventlog.migrate import run_sql

revision: str = "marketplace_0004"
down_revision: str | None = "marketplace_0003"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
