"""The horizon of a service's store, and the open transactions that hold it.

The horizon is the position up to which readers may read, as no event can appear below it any more. Positions are
assigned under the lock of the head's row, so it is the committed head. It does not move while an open transaction
holds that row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.output import duration
from cli.sentences import Count, say

LATE_S: Final = 5.0
"""Appends that wait longer than this for one transaction are reported as a fault."""
_IDLE: Final = "idle in transaction"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTransaction:
    """An open transaction that has written, or that holds or waits for the head's row.

    `blocks` is the number of appends that wait for it, the first of them for `waits_s`; `state_s` is how long its
    session has been in its `state`. `head` is whether it holds or waits for the head's row.
    """

    pid: int
    application: str
    user: str
    state: str
    age_s: float
    state_s: float
    head: bool
    blocks: int
    waits_s: float

    @property
    def late_s(self) -> float:
        """How long it has kept appends waiting.

        An idle transaction has held the row since its session became idle: writers that timed out and tried again
        have waited for all of that time.
        """
        if not self.blocks:
            return 0.0
        return max(self.waits_s, self.state_s) if self.state.startswith(_IDLE) else self.waits_s

    @property
    def owner(self) -> str:
        """The session, as text."""
        if not self.pid:
            return say("a prepared transaction (pg_prepared_xacts)")
        return say(
            "%(name)s (pid %(pid)s, user %(user)s)",
            name=self.application or say("an unnamed session"),
            pid=str(self.pid),
            user=self.user or say("unknown"),
        )


def read(rows: Sequence[Mapping[str, Any]]) -> list[OpenTransaction]:
    """Return the rows of the statement `horizon` in `status.sql` as transactions, oldest first."""
    return sorted(
        (
            OpenTransaction(
                pid=row["pid"],
                application=row["application"],
                user=row["user"],
                state=row["state"],
                age_s=row["age_s"],
                state_s=row["state_s"],
                head=row["head"],
                blocks=row["blocks"],
                waits_s=row["waits_s"],
            )
            for row in rows
        ),
        key=lambda each: -each.age_s,
    )


def oldest_age(opened: Sequence[OpenTransaction]) -> str:
    """Return the age of the oldest transaction, for the table."""
    return duration(opened[0].age_s) if opened else ""


def faults(service: str, opened: Sequence[OpenTransaction]) -> list[str]:
    """Return a line for each transaction that blocks appends for too long, with what to do."""
    return [
        say(
            "%(service)s: %(appends)s waiting for an open transaction, the first for %(waits)s: %(owner)s, %(state)s "
            "for %(since)s, begun %(age)s ago. No event is written until it ends: %(remedy)s.",
            service=service,
            appends=Count(each.blocks, "append"),
            waits=duration(each.waits_s),
            owner=each.owner,
            state=each.state,
            since=duration(each.state_s),
            age=duration(each.age_s),
            remedy=_remedy(each),
        )
        for each in opened
        if each.late_s > LATE_S
    ]


def _remedy(transaction: OpenTransaction) -> str:
    if not transaction.pid:
        return say("commit it or roll it back by the name that pg_prepared_xacts shows")
    return say(
        "have its owner commit or roll back, or end it with `select pg_terminate_backend(%(pid)s)`",
        pid=str(transaction.pid),
    )


def as_data(position: int, opened: Sequence[OpenTransaction]) -> dict[str, Any]:
    oldest = opened[0] if opened else None
    return {
        "position": position,
        "held_s": oldest and round(oldest.age_s, 3),
        "appends_waiting": sum(each.blocks for each in opened),
        "open": [
            {
                "pid": each.pid,
                "application": each.application,
                "user": each.user,
                "state": each.state,
                "age_s": round(each.age_s, 3),
                "state_s": round(each.state_s, 3),
                "head": each.head,
                "blocks": each.blocks,
                "waits_s": round(each.waits_s, 3),
            }
            for each in opened
        ],
    }
