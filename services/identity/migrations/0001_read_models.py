"""identity's read models."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0001"
down_revision: str | None = None
branch_labels: tuple[str, ...] = ("identity",)
depends_on: str | None = "log_0001"


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Read models are folded anew from the log, not taken back.")
