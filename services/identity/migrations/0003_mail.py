"""identity's outbox of mails."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0003"
down_revision: str | None = "identity_0002"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = "log_0003"


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Mails that wait would be lost: there is no way back.")
