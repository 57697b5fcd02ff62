"""Mails with a link to set a new password."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0009"
down_revision: str | None = "identity_0008"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Mails with such links would be lost; there is no way back.")
