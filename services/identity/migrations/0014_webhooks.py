"""identity's tables of webhooks."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0014"
down_revision: str | None = "identity_0013"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Nobody would know any more what was sent to whom; there is no way back.")
