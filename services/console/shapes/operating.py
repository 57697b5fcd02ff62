"""What the pages read of the operations server about its verbs and their runs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, JsonValue


class ServedVerb(BaseModel):
    """A verb that can be run from a page."""

    name: str
    verb: str
    summary: str
    description: str
    changes: bool
    if_cancelled: str
    parameters: dict[str, JsonValue]


class UnservedVerb(BaseModel):
    """A verb that only the command line has."""

    verb: str
    why: str


class Verbs(BaseModel):
    """All verbs. Of operations's `GET /verbs`."""

    items: list[ServedVerb]
    not_served: list[UnservedVerb]


class Step(BaseModel):
    """How far a step of a run is."""

    step: str
    done: int
    of: int | None


class Counted(BaseModel):
    """A number of things, with their name in the singular."""

    number: int
    thing: str


class Moment(BaseModel):
    """A time."""

    time: datetime


class Sentence(BaseModel):
    """A sentence of a verb; its template is "" if it is a text without parts."""

    text: str
    template: str
    values: dict[str, "str | int | Counted | Moment | Sentence"]


class VerbSaid(BaseModel):
    """What a verb has answered."""

    ok: bool
    plan: str | None
    sentences: list[Sentence]
    result: dict[str, JsonValue]


class RunProblem(BaseModel):
    """Why a run has failed."""

    detail: str
    rule: str | None = None
    remedy: str | None = None


class Cancellation(BaseModel):
    """The request to end a run before its end."""

    by: str
    at: datetime
    reason: str


class Run(BaseModel):
    """A verb's run.

    Of operations's `GET /operations/{operation_id}` and `POST /operations/{operation_id}/cancel`.
    """

    id: str
    verb: str
    parameters: dict[str, JsonValue]
    by: str
    dry_run: bool | None
    state: Literal["running", "done", "failed", "cancelled"]
    cancellation: Cancellation | None
    began: datetime
    ended: datetime | None
    progress: list[Step]
    sentences: list[Sentence]
    answer: VerbSaid | None
    problem: RunProblem | None

    @property
    def plan(self) -> str:
        """The digest of the plan that can be confirmed; "" for none."""
        return (self.answer.plan or "") if self.answer is not None else ""


class Runs(BaseModel):
    """The runs since the server's start. Of operations's `GET /operations`."""

    items: list[Run]
