"""A rollout to two pilots, then to everybody."""

from collections.abc import Mapping
from datetime import datetime

from services.distribution.domain.rollout import (
    FollowFleet,
    PauseRollout,
    ReportInstall,
    ResumeRollout,
    StartRollout,
    StopRollout,
)
from shared.events import RolloutPhase
from tests.examples.distribution import NOON

PILOTS = RolloutPhase(groups=("g",), success_percent=50, error_percent=50)
ONLY = RolloutPhase(share=100, success_percent=50, error_percent=50)
REST = RolloutPhase(groups=("default",), success_percent=100, error_percent=50)
USERS = {"ana": "g", "ben": "g", "chiyo": "default"}
START = StartRollout(
    rollout_id="c-1",
    contract_id="c",
    customer="org",
    publisher="autodesk",
    update_id="u",
    version="2027.1",
    groups=("g", "default"),
    phases=(PILOTS, REST),
    targets=USERS,
    by="mina",
    silent_days=0,
    now=NOON,
)
PAUSE, RESUME, STOP = PauseRollout("exams", "mina"), ResumeRollout("mina", NOON), StopRollout("wrong version", "mina")


def follow(
    targets: Mapping[str, str], reasons: Mapping[str, str] | None = None, over: str = "", over_by: str = ""
) -> FollowFleet:
    return FollowFleet(targets=targets, reasons=reasons or {}, now=NOON, over=over, over_by=over_by)


def report(who: str, succeeded: bool = True, machine: str = "pc", now: datetime = NOON) -> ReportInstall:
    return ReportInstall(
        now=now,
        rollout_id="c-1",
        version="2027.1",
        machine=machine,
        succeeded=succeeded,
        account_id=who,
        error="" if succeeded else "disk full",
    )
