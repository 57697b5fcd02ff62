"""An index for the members of a group."""

from shared.eventlog.migrate import run_sql

revision: str = "distribution_0005"
down_revision: str | None = "distribution_0004"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
