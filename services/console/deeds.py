"""Deeds: commands that are shown as a dry run first, and sent when the person confirms."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.doors import Condition, Method, Refused, path
from services.console.lines import lines_in
from services.console.visits import Page, Visit
from shared import rules
from shared.runtime.conditions import version_tag
from shared.runtime.problems import ProblemDetails


class Foreseen(BaseModel):
    """An event that a command brings about, or would."""

    type: str
    data: dict[str, JsonValue]


class Outcome(BaseModel):
    """The answer to a command, or to its dry run."""

    stream: str
    version: int
    """The stream's version after the events."""
    events: list[Foreseen]

    @property
    def decided_on(self) -> str:
        """The tag of the stream's version before the events; "" for a new stream."""
        before = self.version - len(self.events)
        return version_tag(self.stream, before) if before else ""


class LineOutcome(BaseModel):
    """The outcome of one item of a bulk command, with its line if it came from a file."""

    line: int | None = None
    status: int
    answer: dict[str, JsonValue]

    @property
    def accepted(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST

    @property
    def changes(self) -> bool:
        """Whether the command changes anything."""
        return self.accepted and bool(self.answer.get("events"))


class LinesOutcome(BaseModel):
    """The answer to a bulk command, or to its dry run."""

    items: list[LineOutcome]
    dry_run: bool

    @property
    def changed(self) -> int:
        """The number of items that change anything."""
        return sum(each.changes for each in self.items)

    @property
    def idle(self) -> int:
        """The number of items that are accepted and change nothing."""
        return sum(each.accepted and not each.changes for each in self.items)


def _nothing_more(_: Outcome) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A command, and how it is asked for and answered. All texts are translated already."""

    service: str
    method: Method
    path: str
    body: Mapping[str, JsonValue] | None = None
    question: str
    """The heading of the page that asks: what is about to happen, as a question."""
    button: str
    """The answer that does it, a verb and its object."""
    says: Callable[[Outcome], Sequence[str]] = _nothing_more
    """What will happen, in sentences, from the dry run's events. There is at least one."""
    idle: str = ""
    """Why there is nothing to do where there are no events, or "" if that can't be said more closely."""
    moves: bool = False
    """Whether its stream keeps changing by itself, as machines report to a rollout and spend a contract's credits.

    Then what was shown has to hold still; else the stream has to be at the version at which it was shown, too.
    """
    grave: bool = False
    """Whether it can't be undone."""
    then: str
    """The path of the page to show afterwards."""
    notice: str
    """What that page says first: one of NOTICES."""

    @property
    def sent(self) -> dict[str, JsonValue] | None:
        return dict(self.body) if self.body is not None else None


async def carry_out(visit: Visit, deed: Deed, show: Page) -> Response:
    """Ask for confirmation with what a dry run says, or carry a confirmed deed out.

    A refusal of either is shown by `show`, the page where the deed was asked for.
    """
    return await once_confirmed(visit, deed, show, partial(_do, visit, deed))


async def do_now(visit: Visit, deed: Deed, show: Page) -> Response:
    """Carry out a deed that needs no confirmation, as it is undone as easily."""
    try:
        return await _do(visit, deed, {})
    except Refused as refused:
        return await refuse(visit, refused, show)


async def _do(visit: Visit, deed: Deed, condition: Condition) -> Response:
    done = await visit.ask(deed.service, deed.method, deed.path, Outcome, deed.sent, condition=condition)
    return visit.go(deed.then, deed.notice if done.events else UNCHANGED)


async def once_confirmed(
    visit: Visit, deed: Deed, show: Page, do: Callable[[Condition], Awaitable[Response]]
) -> Response:
    """Ask for confirmation with what a dry run says, or do what was confirmed, and nothing else.

    Where a dry run says something else by then, or the stream has moved, the person is shown that and asked again. Only
    a form that was carried out before is not asked about: it gets its first answer, as nothing happens twice.

    Args:
        do: Sends the command under a condition on the version of its stream.
    """
    confirmed = _CONFIRMED.fullmatch(visit.form.values.pop("confirmed", ""))
    try:
        if confirmed and (done := await _as_confirmed(visit, deed, confirmed["digest"], confirmed["at"], do)):
            return done
        shown = await _preview(visit, deed)
    except Refused as refused:
        return await refuse(visit, refused, show)
    template = "confirm.html" if shown.outcome.events else "nothing.html"
    return visit.page(template, deed=deed, shown=shown, changed=confirmed is not None)


_CONFIRMED: Final = re.compile(r"(?P<digest>[0-9a-f]{64})@(?P<at>[!#-~]{0,400})")
"""What the form of a question has: a digest of what was shown, and the tag of the stream at its version."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a person is shown of a deed before they confirm it."""

    outcome: Outcome
    sentences: Sequence[str]
    digest: str

    @property
    def carried(self) -> str:
        """What the form of the question has of it."""
        return f"{self.digest}@{self.outcome.decided_on}"


async def _preview(visit: Visit, deed: Deed) -> Preview:
    outcome = await visit.ask(deed.service, deed.method, path(deed.path, DRY_RUN), Outcome, deed.sent)
    sentences = deed.says(outcome) if outcome.events else ()
    return Preview(outcome, sentences, _digest(deed.question, *sentences, *(event.type for event in outcome.events)))


async def _as_confirmed(
    visit: Visit, deed: Deed, digest: str, at: str, do: Callable[[Condition], Awaitable[Response]]
) -> Response | None:
    """Do what the person was shown at a version of the stream; None if it is not true any more.

    A stream that has moved may have moved by this very form, sent twice. So the command is sent for the version that
    the person was shown: it gets its first answer, or the service refuses it because of the version.
    """
    now: Preview | None = None
    try:
        now = await _preview(visit, deed)
    except Refused as refused:
        if refused.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
    condition = {"If-Match": f'"{at}"'} if at else {"If-None-Match": "*"}
    if now is not None and now.digest == digest and deed.moves:
        condition = {}
    elif now is not None and now.digest != digest and now.outcome.decided_on == at:
        return None
    try:
        return await do(condition)
    except Refused as refused:
        if refused.problem.rule != rules.VERSION_CHANGED:
            raise
    return None


def _digest(*shown: str) -> str:
    return sha256("\n".join(shown).encode()).hexdigest()


UNCHANGED: Final = "nothing-changed"
"""The notice of a deed that has changed nothing."""
DRY_RUN: Final[Mapping[str, str]] = {"dry_run": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesDeed:
    """A bulk command from a CSV file. All texts are translated already."""

    service: str
    path: str
    lines: str
    """The file."""
    shown: Sequence[str] = ()
    """What the page shows for each of its lines, from the first one on, where that is not what is sent."""
    added: int = 0
    """The number of lines that the page has put before those that the person gave, such as a heading."""
    question: str
    button: str
    then: str
    """The path of the page to go to afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineShown:
    """A line of a file, with its outcome in words."""

    number: int
    text: str
    accepted: bool
    changes: bool = True
    """Whether it changes anything."""
    faults: Sequence[str] = field(default=())
    record: str = ""
    """The id under which a service has stored its refusal, or ""."""


async def carry_out_lines(visit: Visit, deed: LinesDeed, show: Page) -> Response:
    """Show what each line of a file would do or, once that is confirmed, what it did.

    A file that is refused as a whole is shown by `show`, the page where it was chosen. As with a single deed, the
    person is asked again if a line's outcome would be another one than they have seen.
    """
    confirmed = visit.form.values.pop("confirmed", "")
    try:
        outcome = await visit.ask(deed.service, "POST", path(deed.path, DRY_RUN), LinesOutcome, None, deed.lines)
        seen = _digest(deed.question, *(_seen(each) for each in outcome.items))
        changed = confirmed not in ("", seen)
        if confirmed == seen and outcome.changed:
            outcome = await visit.ask(deed.service, "POST", deed.path, LinesOutcome, None, deed.lines)
    except Refused as refused:
        return await refuse(visit, refused, show)
    written = deed.shown or lines_in(deed.lines)
    shown = [_line(visit, each, written, deed.added) for each in outcome.items]
    return visit.page(
        "lines.html", deed=deed, outcome=outcome, shown=shown, confirmed=seen, changed=changed and outcome.dry_run
    )


def _seen(outcome: LineOutcome) -> str:
    """Return what a person sees of a line's outcome."""
    return f"{outcome.line} {outcome.status} {outcome.changes} {outcome.answer.get('rule', '')}"


def _line(visit: Visit, outcome: LineOutcome, written: Sequence[str], added: int) -> LineShown:
    line = outcome.line or 0
    text, number = written[line - 1] if 0 < line <= len(written) else "", line - added
    if outcome.accepted:
        return LineShown(number=number, text=text, accepted=True, changes=outcome.changes)
    problem = ProblemDetails.model_validate(outcome.answer)
    words = replace(visit.form, values={}, errors={}, faults=[], record="")
    words.refuse(Refused(problem), visit.texts)
    return LineShown(number=number, text=text, accepted=False, faults=words.faults, record=words.record)


async def refuse(visit: Visit, refused: Refused, show: Page) -> Response:
    """Show a page again with what a service refused, beside the field that it concerns.

    The next attempt is another command; only if it is unknown what became of this one, it keeps its key.
    """
    visit.form.refuse(refused, visit.texts)
    return await again(visit, show, keep_key=refused.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR)


async def again(visit: Visit, show: Page, *, keep_key: bool = False) -> Response:
    """Show a page again with what is wrong with its form."""
    if not keep_key:
        visit.form.key = ""
    response = await show(visit)
    response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    return response
