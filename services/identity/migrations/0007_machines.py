"""Machine accounts: their secrets, and whose they are."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0007"
down_revision: str | None = "identity_0006"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Machines would be locked out; there is no way back.")
