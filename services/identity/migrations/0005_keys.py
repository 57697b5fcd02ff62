"""Signing keys that follow each other with an overlap."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0005"
down_revision: str | None = "identity_0004"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("A key that was retired has no private half any more.")
