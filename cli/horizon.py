"""The horizon of a service's store: up to where its readers may go, and which open transactions stand behind it.

Positions are given under the lock of the head's row, so nothing can appear below the committed head any more: that is
the horizon. It does not move while a transaction that stays open holds the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.output import count, duration

LATE_S: Final = 5.0
"""Appends that wait for longer than this behind one transaction are a fault."""
_IDLE: Final = "idle in transaction"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTransaction:
    """An open transaction that has written here, or holds or wants the head's row. `blocks` is how many appends wait
    behind it, the first of them for `waits_s`; `stands_s` is how long its session has been in its `state`."""

    pid: int
    application: str
    user: str
    state: str
    age_s: float
    stands_s: float
    head: bool
    blocks: int
    waits_s: float

    @property
    def late_s(self) -> float:
        """How long it has kept appends waiting. One that idles got the row before: writers that gave up and came again
        waited for it, too."""
        if not self.blocks:
            return 0.0
        return max(self.waits_s, self.stands_s) if self.state.startswith(_IDLE) else self.waits_s

    @property
    def whose(self) -> str:
        if not self.pid:
            return "a prepared transaction (pg_prepared_xacts)"
        return f"{self.application or 'a session without a name'} (pid {self.pid}, user {self.user or 'unknown'})"


def read(rows: Sequence[Mapping[str, Any]]) -> list[OpenTransaction]:
    """The answer of `status.sql`'s `horizon`, the oldest first."""
    return sorted(
        (
            OpenTransaction(
                pid=row["pid"],
                application=row["application"],
                user=row["user"],
                state=row["state"],
                age_s=row["age_s"],
                stands_s=row["stands_s"],
                head=row["head"],
                blocks=row["blocks"],
                waits_s=row["waits_s"],
            )
            for row in rows
        ),
        key=lambda each: -each.age_s,
    )


def held(opened: Sequence[OpenTransaction]) -> str:
    """For the table: the age of the oldest."""
    return duration(opened[0].age_s) if opened else ""


def faults(service: str, opened: Sequence[OpenTransaction]) -> list[str]:
    """Whoever has kept appends waiting for too long, and what to do."""
    return [
        f"{service}: {count(each.blocks, 'append')} waiting, the first for {duration(each.waits_s)}, behind an open "
        f"transaction: {each.whose}, {each.state} for {duration(each.stands_s)}, begun {duration(each.age_s)} ago. "
        f"Nothing is written until it ends: {_remedy(each)}."
        for each in opened
        if each.late_s > LATE_S
    ]


def _remedy(transaction: OpenTransaction) -> str:
    if not transaction.pid:
        return "commit it or roll it back by its name there"
    return f"have its owner commit or roll back, or end it with `select pg_terminate_backend({transaction.pid})`"


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
                "state_s": round(each.stands_s, 3),
                "head": each.head,
                "blocks": each.blocks,
                "waits_s": round(each.waits_s, 3),
            }
            for each in opened
        ],
    }
