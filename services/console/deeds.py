"""Deeds: commands that are shown as a dry run first, and sent when the person confirms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.doors import Method, Refused, path
from services.console.lines import lines_in
from services.console.visits import Page, Visit
from shared.runtime.problems import ProblemDetails


class Foreseen(BaseModel):
    """An event that a command brings about, or would."""

    type: str
    data: dict[str, JsonValue]


class Outcome(BaseModel):
    """The answer to a command, or to its dry run."""

    stream: str
    events: list[Foreseen]


class LineOutcome(BaseModel):
    """The outcome of one item of a bulk command, with its line if it came from a file."""

    line: int | None = None
    status: int
    answer: dict[str, JsonValue]


class LinesOutcome(BaseModel):
    """The answer to a bulk command, or to its dry run."""

    items: list[LineOutcome]
    accepted: int
    dry_run: bool


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
    """What will happen, in sentences, from the dry run's events."""
    grave: bool = False
    """Whether it can't be undone."""
    then: str
    """The path of the page to show afterwards."""
    notice: str
    """What that page says first: one of NOTICES."""


async def carry_out(visit: Visit, deed: Deed, show: Page) -> Response:
    """Ask for confirmation with what a dry run says, or carry a confirmed deed out.

    A refusal of either is shown by `show`, the page where the deed was asked for.
    """
    body = dict(deed.body) if deed.body is not None else None
    confirmed = visit.form.values.pop("confirmed", "") == "yes"
    try:
        if confirmed:
            await visit.do(deed.service, deed.method, deed.path, body)
            return visit.go(deed.then, deed.notice)
        foreseen = await visit.ask(deed.service, deed.method, path(deed.path, DRY_RUN), Outcome, body)
    except Refused as refused:
        return await refuse(visit, refused, show)
    return visit.page("confirm.html", deed=deed, sentences=deed.says(foreseen))


async def do_now(visit: Visit, deed: Deed, show: Page) -> Response:
    """Carry out a deed that needs no confirmation, as it is undone as easily."""
    visit.form.values["confirmed"] = "yes"
    return await carry_out(visit, deed, show)


DRY_RUN: Mapping[str, str] = {"dry_run": "true"}


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
    faults: Sequence[str] = field(default=())
    record: str = ""
    """The id under which a service has stored its refusal, or ""."""


async def carry_out_lines(visit: Visit, deed: LinesDeed, show: Page) -> Response:
    """Show what each line of a file would do or, once confirmed, what it did.

    A file that is refused as a whole is shown by `show`, the page where it was chosen.
    """
    confirmed = visit.form.values.pop("confirmed", "") == "yes"
    at = deed.path if confirmed else path(deed.path, DRY_RUN)
    try:
        outcome = await visit.ask(deed.service, "POST", at, LinesOutcome, None, deed.lines)
    except Refused as refused:
        return await refuse(visit, refused, show)
    written = deed.shown or lines_in(deed.lines)
    shown = [_line(visit, each, written, deed.added) for each in outcome.items]
    return visit.page("lines.html", deed=deed, outcome=outcome, shown=shown)


def _line(visit: Visit, outcome: LineOutcome, written: Sequence[str], added: int) -> LineShown:
    line = outcome.line or 0
    text, number = written[line - 1] if 0 < line <= len(written) else "", line - added
    if outcome.status < HTTPStatus.BAD_REQUEST:
        return LineShown(number=number, text=text, accepted=True)
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
