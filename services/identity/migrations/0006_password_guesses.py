"""identity's counters of wrong passwords."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0006"
down_revision: str | None = "identity_0005"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("The counters of wrong passwords are not taken back.")
