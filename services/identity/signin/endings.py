"""Which sessions have ended, as identity knows it: from its own log, as of every question."""

from datetime import timedelta
from typing import Final

from services.identity.signin.refresh import LIFETIME
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.endings import ENDS, Ended
from shared.sql import statements

SQL: Final = statements(__file__)
_KEEP: Final = LIFETIME + timedelta(days=1)
"""Of what ended earlier no session is left."""


class OwnEndings:
    """The endings of the log, read as far as it goes before each answer: what was appended is never overlooked."""

    def __init__(self, db: Pool) -> None:
        self._db, self._position = db, 0
        self._ended = Ended(_KEEP.total_seconds())

    async def refresh(self) -> None:
        """Note what was appended since the last look."""
        rows = await self._db.fetch(SQL["recent"], self._position, list(ENDS), _KEEP)
        for row in rows:
            if row["position"] is not None:
                self._ended.note(row["type"], row["data"].encode(), row["position"], row["time"].timestamp())
        self._position = max(self._position, rows[0]["head"])

    async def good(self, actor: Actor, _token: str = "") -> bool:
        """See `shared.runtime.auth.Endings`."""
        await self.refresh()
        return not self._ended.has(actor)
