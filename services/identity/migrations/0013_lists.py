"""Indexes for lists of notifications."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0013"
down_revision: str | None = "identity_0012"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Nobody would know any more what people were told; there is no way back.")
