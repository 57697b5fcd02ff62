"""The ends of sessions, which identity reads from its own log before each check."""

from datetime import timedelta
from typing import Final

from services.identity.signin.refresh import LIFETIME
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.endings import ENDS, Ended
from shared.runtime.joined import Joined
from shared.sql import statements

SQL: Final = statements(__file__)
_KEEP: Final = LIFETIME + timedelta(days=1)
"""Sessions that ended earlier would have expired by now."""


class OwnEndings:
    """The ends of sessions in the log.

    The log is read up to its head before each check, so that no appended end is overlooked.
    """

    def __init__(self, db: Pool) -> None:
        self._db, self._position = db, 0
        self._ended = Ended(_KEEP.total_seconds())
        self.refresh: Final = Joined(self._read)
        """Read the ends that were appended until now."""

    async def _read(self) -> None:
        rows = await self._db.fetch(SQL["recent"], self._position, list(ENDS), _KEEP)
        for row in rows:
            if row["position"] is not None:
                self._ended.note(row["type"], row["data"].encode(), row["position"], row["time"].timestamp())
        self._position = max(self._position, rows[0]["head"])

    async def good(self, actor: Actor, _token: str = "") -> bool:
        """Return whether the session or machine is still valid, see `shared.runtime.auth.Endings`."""
        await self.refresh()
        return not self._ended.has(actor)
