"""Until when invitations are valid and what became of them, for their list."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0011"
down_revision: str | None = "identity_0010"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Read models are folded anew from the log, not taken back.")
