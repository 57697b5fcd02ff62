"""Sessions of people: what refreshes their tokens."""

from shared.eventlog.migrate import run_sql

revision: str = "identity_0004"
down_revision: str | None = "identity_0003"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_sql(__file__)


def downgrade() -> None:
    raise RuntimeError("Whoever is signed in would be signed out; there is no way back.")
