"""Phases, policies, windows and histories in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, TypeAlias

from babel.dates import format_date, format_time
from babel.units import format_unit

from services.console.names import Names
from services.console.pages.updates.contracts import named
from services.console.shapes.distribution import Group, GroupPolicy, Happened, Phase, Window
from services.console.texts import Texts, marked

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CADENCES: Final[Mapping[str, str]] = {
    "weekly": marked("Weekly"),
    "monthly": marked("Monthly"),
    "quarterly": marked("Quarterly"),
    "off": marked("Only by hand"),
}
_PERIODS: Final[Mapping[str | None, str]] = {
    "week": marked("Each Monday, those that are at least %(days)s old are approved."),
    "month": marked("On the first of each month, those that are at least %(days)s old are approved."),
    "quarter": marked("On the first day of each quarter, those that are at least %(days)s old are approved."),
    None: marked("Those that are at least %(days)s old are approved."),
}
_CRITICAL: Final[Mapping[str | None, str]] = {
    "week": marked("Critical ones: each Monday, once they are at least %(days)s old."),
    "month": marked("Critical ones: on the first of each month, once they are at least %(days)s old."),
    "quarter": marked("Critical ones: on the first day of each quarter, once they are at least %(days)s old."),
    None: marked("Critical ones: once they are at least %(days)s old."),
}
BY_HAND: Final = marked("Nothing is approved by itself: an administrator decides about each update.")
ALWAYS: Final = marked("Approved updates are installed at any time.")
WINDOW: Final = marked("%(weekday)s from %(time)s for %(length)s (%(zone)s)")


# ── Phases ─────────────────────────────────────────────────────────────────────────────────────────────


def phase_users(phase: Phase, groups: Sequence[Group], texts: Texts) -> str:
    """Return who is in a phase."""
    if phase.groups:
        return ", ".join(named(groups, phase.groups))
    if phase.share == 100:
        return texts.gettext("everybody")
    return texts.gettext("%(share)s of the users") % {"share": texts.percent(phase.share)}


def phase_thresholds(phase: Phase, texts: Texts) -> str:
    """Return when a phase is passed, and when it pauses the rollout."""
    values = {"success": texts.percent(phase.success_percent), "error": texts.percent(phase.error_percent)}
    return texts.gettext("Passed when %(success)s have it; pauses when it failed for %(error)s.") % values


def phases_in_words(phases: Sequence[Phase], groups: Sequence[Group], texts: Texts) -> list[str]:
    """Return a sentence or two for each phase."""
    return [
        texts.gettext("Phase %(number)s: %(users)s. %(thresholds)s")
        % {
            "number": texts.number(number),
            "users": phase_users(phase, groups, texts),
            "thresholds": phase_thresholds(phase, texts),
        }
        for number, phase in enumerate(phases, start=1)
    ]


# ── Policies ───────────────────────────────────────────────────────────────────────────────────────────


def policy_in_words(policy: GroupPolicy, texts: Texts) -> list[str]:
    """Return a group's policy in sentences."""
    if policy.cadence == "off":
        approved = [texts.gettext(BY_HAND)]
    else:
        approved = [
            texts.gettext(_PERIODS[policy.period]) % {"days": days(policy.days, texts)},
            texts.gettext(_CRITICAL[policy.critical_period]) % {"days": days(policy.critical_days, texts)},
        ]
    windows = [window_in_words(window, texts) for window in policy.windows]
    installed = (
        texts.gettext("Approved updates are installed: %(windows)s.") % {"windows": "; ".join(windows)}
        if windows
        else texts.gettext(ALWAYS)
    )
    return [*approved, installed]


def days(number: int, texts: Texts) -> str:
    """Return a number of days with the word."""
    return texts.ngettext("%(num)d day", "%(num)d days", number) % {"num": number}


def window_in_words(window: Window, texts: Texts) -> str:
    """Return a maintenance window, in its own zone."""
    hour, _, minute = window.starts.partition(":")
    return texts.gettext(WINDOW) % {
        "weekday": weekday(window.weekday, texts),
        "time": format_time(time(int(hour), int(minute)), "short", locale=texts.locale),
        "length": length(window.minutes, texts),
        "zone": window.time_zone,
    }


def weekday(name: str, texts: Texts) -> str:
    """Return a weekday's name."""
    day = date(2024, 1, 1) + timedelta(WEEKDAYS.index(name))  # a Monday, and the days after it
    return format_date(day, "EEEE", locale=texts.locale)


def length(minutes: int, texts: Texts) -> str:
    """Return a length of time in hours and minutes."""
    hours, rest = divmod(minutes, 60)
    parts = [("duration-hour", hours)] if hours else []
    parts += [("duration-minute", rest)] if rest else []
    return " ".join(format_unit(number, unit, locale=texts.locale) for unit, number in parts)


# ── Histories ──────────────────────────────────────────────────────────────────────────────────────────

EVENTS: Final[Mapping[str, str]] = {
    "RolloutStarted": marked("The rollout began."),
    "PhaseStarted": marked("Phase %(phase)s began."),
    "PhasePassed": marked("Phase %(phase)s was passed: %(succeeded)s of %(targets)s have it."),
    "RolloutMovedOn": marked("Phase %(phase)s was ended by hand: %(succeeded)s of %(targets)s have it."),
    "RolloutPaused": marked("The rollout was paused."),
    "RolloutResumed": marked("The rollout was resumed."),
    "RolloutStopped": marked("The rollout was stopped."),
    "RolloutCompleted": marked("The rollout was completed."),
    "FailuresRetried": marked("The failed machines (%(machines)s) try again."),
    "TargetExcluded": marked("%(person)s was excluded."),
    "TargetAdded": marked("%(person)s joined phase %(phase)s."),
    "TargetRemoved": marked("%(person)s left the rollout."),
    "InstallSucceeded": marked("%(person)s has it, on %(machine)s."),
    "InstallFailed": marked("It failed for %(person)s, on %(machine)s."),
    "GroupCreated": marked("The group was created."),
    "UserPutInGroup": marked("%(person)s was put into the group."),
    "UserRemovedFromGroup": marked("%(person)s was removed from the group."),
    "GroupPolicySet": marked("The policy was changed: %(cadence)s."),
    "UpdateApproved": marked("%(update)s was approved."),
    "UpdateHeld": marked("%(update)s was held."),
    "UpdateScheduled": marked("%(update)s was scheduled."),
}
"""What happened, by the type of its event. An event that is not here is of no interest to people."""
PAUSED: Final[Mapping[str, str]] = {
    "failures": marked("Too many installations failed: as many as the approval allows, or more."),
    "no-users": marked("The phase has no users any more who could try the update."),
    "silence": marked("Nobody has reported for many days."),
}
"""Why a policy has paused a rollout, by the cause in the event. An administrator gives a reason of their own."""
ACTORS: Final[Mapping[str, str]] = {
    "policy:thresholds": marked("The thresholds of the approval"),
    "thresholds": marked("The thresholds of the approval"),
    "policy:silence": marked("The policy for silent phases"),
    "policy:weekly": marked("The weekly policy"),
    "policy:monthly": marked("The monthly policy"),
    "policy:quarterly": marked("The quarterly policy"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a history: who did what, when and why."""

    at: datetime
    who: str
    what: str
    why: str


def actor(by: str, names: Names, texts: Texts) -> str:
    """Return who acted: a person, a policy or the system."""
    return texts.gettext(ACTORS[by]) if by in ACTORS else names[by].name


UpdateKey: TypeAlias = tuple[str, str]
"""A publisher, and the id of an update of its."""


def entries(
    history: Sequence[Happened], names: Names, texts: Texts, titles: Mapping[UpdateKey, str] | None = None
) -> list[Entry]:
    """Return a history in words, as far as it concerns people.

    Args:
        titles: The titles of updates that it names; one without a title is shown by its id.
    """
    return [_entry(each, names, texts, titles or {}) for each in history if each.type in EVENTS]


def updates_in(history: Sequence[Happened]) -> set[UpdateKey]:
    """Return the updates that a history names."""
    return {_update_of(each) for each in history if _text(each, "update_id")}


def _update_of(event: Happened) -> UpdateKey:
    return _text(event, "publisher"), _text(event, "update_id")


def people_in(history: Sequence[Happened]) -> list[str]:
    """Return the accounts that a history names."""
    return [who for each in history for who in (each.actor, _text(each, "account_id")) if who]


def _entry(event: Happened, names: Names, texts: Texts, titles: Mapping[UpdateKey, str]) -> Entry:
    phase = event.data.get("phase")
    values = {
        "phase": texts.number(phase + 1) if isinstance(phase, int) else "",
        "person": names[_text(event, "account_id")].name if event.data.get("account_id") else "",
        "machine": _text(event, "machine"),
        "cadence": texts.gettext(CADENCES.get(_text(event, "cadence"), "")) if event.data.get("cadence") else "",
        "update": titles.get(_update_of(event), _text(event, "update_id")),
        **{name: _number(event, name, texts) for name in ("succeeded", "targets", "machines")},
    }
    return Entry(
        at=event.at,
        who=actor(event.actor, names, texts),
        what=texts.gettext(EVENTS[event.type]) % values,
        why=_why(event, texts),
    )


def _why(event: Happened, texts: Texts) -> str:
    cause = _text(event, "cause")
    if cause in PAUSED:
        return texts.gettext(PAUSED[cause])
    return _text(event, "reason") or _text(event, "error")


def _text(event: Happened, name: str) -> str:
    value = event.data.get(name)
    return value if isinstance(value, str) else ""


def _number(event: Happened, name: str, texts: Texts) -> str:
    value = event.data.get(name)
    return texts.number(value) if isinstance(value, int) else ""
