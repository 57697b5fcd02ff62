"""marketplace's read models: catalogue, standings, people, carts, subscriptions, and access."""

from collections.abc import Sequence

from shared.eventlog.migrate import run_sql, run_statements
from shared.runtime.access import ACCESS_TABLES

revision: str = "marketplace_0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = ("marketplace",)
depends_on: str | None = "log_0001"


def upgrade() -> None:
    run_sql(__file__)
    run_statements(ACCESS_TABLES)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
