"""What the list of carts is searched by."""

from shared.eventlog.migrate import run_sql

revision: str = "marketplace_0009"
down_revision: str | None = "marketplace_0008"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
