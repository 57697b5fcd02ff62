"""identity's tables of people and of their requests for roles."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0008"
down_revision: str | None = "identity_0007"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Read models are folded anew from the log, not taken back.")
