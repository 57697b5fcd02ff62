"""entitlements's read models."""

from shared.eventlog.migrate import run_sql, run_statements
from shared.runtime.access import ACCESS_TABLES

revision: str = "entitlements_0001"
down_revision: str | None = None
branch_labels: tuple[str, ...] = ("entitlements",)
depends_on: str | None = "log_0001"


def upgrade() -> None:
    run_sql(__file__)
    run_statements(ACCESS_TABLES)


def downgrade() -> None:
    raise RuntimeError("Read models are folded anew from the log, not taken back.")
