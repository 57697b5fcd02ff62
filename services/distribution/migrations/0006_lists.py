"""The users of each rollout, for the list of rollouts."""

from shared.eventlog.migrate import run_sql

revision: str = "distribution_0006"
down_revision: str | None = "distribution_0005"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("read models are rebuilt from the log, not downgraded")
