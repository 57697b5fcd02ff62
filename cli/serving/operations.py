"""The runs of verbs: each is a task of its own, which goes on when its request has ended."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import orjson
import structlog
from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from cli.app import NOTHING_CHANGED, Declaration, Result, as_plans
from cli.context import Context
from cli.exit_codes import DONE, NOT_FOUND, OWN_FAULT, UNREACHABLE, USAGE
from cli.explain import explain
from cli.operation import ChangePlan, Consent, apply_plans, digest_of, full_name, show_plans, write_planned
from cli.sentences import SentenceView
from cli.serving import rules as own_rules
from cli.serving.captured import CapturedOutput
from cli.serving.forms import slug
from shared import rules
from shared.eventlog.write.log import utc_now
from shared.runtime.auth import Actor
from shared.runtime.problems import MEDIA_TYPE, Problem, ProblemDetails, busy, unknown
from shared.runtime.wellformed import malformed_request

logger = structlog.get_logger("operations")

AT_ONCE: Final = 12
"""The greatest number of verbs that run at the same time."""
LONG_AT_ONCE: Final = 4
"""How many of these may be long ones."""
KEPT: Final = 200
"""How many operations are kept for GET /operations/{id}; those that run are in addition."""
_RULES: Final[Mapping[int, str]] = {
    USAGE: rules.MALFORMED,
    UNREACHABLE: rules.UNAVAILABLE,
    NOT_FOUND: rules.UNKNOWN,
    OWN_FAULT: rules.INTERNAL_ERROR,
}
"""The rule of an exit code; the others are refusals of the verb."""
State: TypeAlias = Literal["running", "done", "failed", "cancelled"]


class Answer(BaseModel):
    """What a verb answers."""

    verb: str
    ok: bool
    """False where the exit code would be 1: the verb ran, and something is wrong."""
    dry_run: bool | None
    """Whether a verb that changes something has only said what it would change; None if the verb only reads."""
    plan: str | None
    """The digest of the plan, which a confirmation has to carry; None if there is nothing to confirm."""
    lines: list[str]
    """The result in sentences."""
    sentences: list[SentenceView]
    """The same with their parts, for other languages."""
    result: dict[str, JsonValue]
    """The result, as `--json` prints it."""


class Progress(BaseModel):
    """How far a step is."""

    step: str
    done: int
    of: int | None


class Cancellation(BaseModel):
    """The request to end an operation before its end."""

    by: str
    """The account."""
    at: datetime
    reason: str


class OperationView(BaseModel):
    """A verb's run."""

    id: str
    verb: str
    parameters: dict[str, JsonValue]
    by: str
    """The account."""
    dry_run: bool | None
    state: State
    cancellation: Cancellation | None
    """The operation goes on until it has cleaned up; it may also reach its end before."""
    began: datetime
    ended: datetime | None
    progress: list[Progress]
    lines: list[str]
    """What it has said until now."""
    sentences: list[SentenceView]
    answer: Answer | None
    problem: ProblemDetails | None
    """Why it has failed."""


class PlanChanged(Problem):
    """The refusal of a confirmation of another plan; it has the present plan."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            rule=own_rules.OPERATION_PLAN_CHANGED,
            reason="The plan is not the one that was confirmed.",
            remedy="Check the plan in `answer`, and confirm that one.",
        )
        self.answer = answer

    def response(self) -> Response:
        answered = super().response()
        body = {**orjson.loads(bytes(answered.body)), "answer": self.answer.model_dump(mode="json")}
        return Response(orjson.dumps(body), answered.status_code, self.headers, MEDIA_TYPE)


@dataclass(kw_only=True, eq=False)
class Operation:
    """A verb's run."""

    id: str
    verb: Declaration
    arguments: Mapping[str, Any]
    given: Mapping[str, JsonValue]
    """The parameters as they were written."""
    consent: Consent
    plan: str
    """The digest that a confirmation carries; "" for a dry run."""
    actor: Actor
    token: str
    began: datetime
    output: CapturedOutput = field(default_factory=CapturedOutput)
    ended: datetime | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    cancellation: Cancellation | None = None
    applies: bool = False
    """Whether it has begun to apply its plan."""
    task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        if self.ended is None:
            return "running"
        if self.problem is None:
            return "done"
        return "cancelled" if self.problem.rule == own_rules.OPERATION_CANCELLED else "failed"

    @property
    def name(self) -> str:
        return slug(self.verb.name)

    def view(self) -> OperationView:
        return OperationView(
            id=self.id,
            verb=self.name,
            parameters=dict(self.given),
            by=self.actor.account_id,
            dry_run=not self.consent.yes if self.verb.changes else None,
            state=self.state,
            cancellation=self.cancellation,
            began=self.began,
            ended=self.ended,
            progress=[Progress(step=each.step, done=each.done, of=each.of) for each in self.output.steps.values()],
            lines=self.output.lines,
            sentences=list(self.output.said),
            answer=self.answer,
            problem=None if self.problem is None else _details(self.problem),
        )


def _details(problem: Problem) -> ProblemDetails:
    return ProblemDetails.model_validate_json(bytes(problem.response().body))


class Operations:
    """The runs of a process."""

    def __init__(self, context: Callable[[str], Context], new_id: Callable[[], str]) -> None:
        """Create them.

        Args:
            context: Makes the connections of one run, with the caller's token.
        """
        self._context, self._new_id = context, new_id
        self._running: set[Operation] = set()
        self._kept: OrderedDict[str, Operation] = OrderedDict()
        self._changing: dict[tuple[str, str], Operation] = {}
        """The operation that applies a change, by verb and service."""

    @property
    def running(self) -> int:
        return len(self._running)

    def start(
        self,
        verb: Declaration,
        arguments: Mapping[str, Any],
        given: Mapping[str, JsonValue],
        consent: Consent,
        plan: str,
        actor: Actor,
        token: str,
    ) -> Operation:
        """Start a verb. Raises Problem 503 if too many run."""
        long = sum(each.verb.long for each in self._running)
        if len(self._running) >= AT_ONCE or (verb.long and long >= LONG_AT_ONCE):
            raise busy("Too many operations run now.")
        operation = Operation(
            id=self._new_id(),
            verb=verb,
            arguments=arguments,
            given=given,
            consent=consent,
            plan=plan,
            actor=actor,
            token=token,
            began=utc_now(),
        )
        self._running.add(operation)
        operation.task = asyncio.create_task(self._run(operation), name=f"operation {operation.id}")
        return operation

    async def finished(self, operation: Operation, within_s: float, *, keep: bool = False) -> bool:
        """Wait for the end of an operation, and return whether it has ended in time and is not kept.

        Args:
            keep: Whether it is kept even if it has ended.
        """
        if operation.task is not None and within_s > 0:
            await asyncio.wait([operation.task], timeout=within_s)
        if operation.state != "running" and not keep:
            return True
        self._kept[operation.id] = operation
        while len(self._kept) > KEPT and (old := next((i for i, e in self._kept.items() if e.ended), None)):
            del self._kept[old]
        return False

    def listed(self) -> Sequence[OperationView]:
        """Return the operations that are kept, the newest first."""
        return [each.view() for each in reversed(self._kept.values())]

    def one(self, operation_id: str) -> Operation:
        """Return an operation that is kept. Raises Problem 404."""
        operation = self._kept.get(operation_id)
        if operation is None:
            raise unknown("operation", "It may be from before the server's last start. The log has what was changed.")
        return operation

    def cancel(self, operation_id: str, actor: Actor, reason: str) -> Operation:
        """Cancel an operation that runs; one that is being cancelled already stays so.

        What is recorded of a change has the account and the reason as its result. Raises Problem 404, 409 or 422.
        """
        operation = self.one(operation_id)
        if operation.ended is not None or operation.task is None:
            raise Problem(
                rule=own_rules.OPERATION_ENDED,
                reason="The operation has ended already.",
                remedy="Look at what it has done.",
                headers={"Location": f"/operations/{operation.id}"},
            )
        if operation.consent.yes and not reason.strip():
            raise malformed_request([{"field": "reason", "error": "the record of a change needs it"}])
        if operation.cancellation is None:
            operation.cancellation = Cancellation(by=actor.account_id, at=utc_now(), reason=reason.strip())
            operation.task.cancel(f"cancelled by {actor.account_id}: {reason.strip()}".rstrip(": "))
            logger.info(
                "operation is cancelled",
                operation=operation.id,
                verb=operation.verb.name,
                account=actor.account_id,
                reason=reason,
            )
        return operation

    async def stop(self, within_s: float) -> None:
        """Wait for the operations that run, then cancel them, which is recorded as their failure."""
        tasks = [each.task for each in self._running if each.task is not None]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=within_s)
            for task in left:
                task.cancel("the operations server was stopped")
            await asyncio.gather(*left, return_exceptions=True)

    async def _run(self, operation: Operation) -> None:
        with structlog.contextvars.bound_contextvars(operation=operation.id):
            try:
                async with self._context(operation.token) as context:
                    operation.answer = await self._answer(context, operation)
            except asyncio.CancelledError:
                if operation.answer is None:  # else it has reached its end before
                    operation.problem = _cancelled(operation)
                raise
            except Exception as error:  # noqa: BLE001  # every error becomes the problem of this operation
                operation.problem = problem_of(error)
            finally:
                operation.ended, operation.token = utc_now(), ""
                self._running.discard(operation)
                logger.info(
                    "operation",
                    verb=operation.verb.name,
                    account=operation.actor.account_id,
                    applied=operation.consent.yes,
                    state=operation.state,
                )

    async def _answer(self, context: Context, operation: Operation) -> Answer:
        verb, output, consent = operation.verb, operation.output, operation.consent
        arguments = verb.arguments(context, output, consent, operation.arguments)
        planned = await verb.function(**arguments)
        if isinstance(planned, Result):
            if planned.data is not None:
                output.result(planned.data)
            return _answer(operation, ok=planned.ok, dry_run=not consent.yes if verb.changes else None)
        plans = as_plans(planned)
        name, total = full_name(verb.name, plans), sum(plan.total for plan in plans)
        digest = digest_of(name, operation.given, plans) if total else None
        if not consent.yes or digest != operation.plan:
            show_plans(output, plans)
            write_planned(output, name, plans, dry_run=True)
            shown = _answer(operation, ok=True, dry_run=True, plan=digest)
            if consent.yes:
                operation.answer = shown
                raise PlanChanged(shown)
            return shown
        output.steps.clear()
        with _Alone(self._changing, operation, [plan for plan in plans if plan.total]):
            operation.applies = True
            code = await apply_plans(context, output, name, plans, consent)
        return _answer(operation, ok=code == DONE, dry_run=False)


def _cancelled(operation: Operation) -> Problem:
    if operation.cancellation is None:
        return busy("The server was stopped.")
    left = operation.verb.if_cancelled if operation.applies else NOTHING_CHANGED
    return Problem(rule=own_rules.OPERATION_CANCELLED, reason="It was cancelled before its end.", remedy=left)


def _answer(operation: Operation, *, ok: bool, dry_run: bool | None, plan: str | None = None) -> Answer:
    output = operation.output
    return Answer(
        verb=operation.name,
        ok=ok,
        dry_run=dry_run,
        plan=plan,
        lines=output.lines,
        sentences=list(output.said),
        result=output.data,
    )


class _Alone:
    """The exclusion of two changes of one kind to one service."""

    def __init__(
        self, changing: dict[tuple[str, str], Operation], operation: Operation, plans: Sequence[ChangePlan]
    ) -> None:
        self._changing, self._operation = changing, operation
        self._keys = [(operation.verb.name, plan.service) for plan in plans]

    def __enter__(self) -> None:
        for key in self._keys:
            if (other := self._changing.get(key)) is not None:
                raise Problem(
                    rule=own_rules.OPERATION_RUNNING,
                    reason=f"`{key[0]}` changes {key[1]} already, since {other.began:%H:%M:%SZ}.",
                    remedy="Wait for its end, then look at the plan again.",
                    headers={"Location": f"/operations/{other.id}"},
                )
        self._changing.update(dict.fromkeys(self._keys, self._operation))

    def __exit__(self, *_: object) -> None:
        for key in self._keys:
            self._changing.pop(key, None)


def problem_of(error: Exception) -> Problem:
    """Return an error as the problem that its exit code means."""
    if isinstance(error, Problem):
        return error
    sentence, code = explain(error)
    if code == OWN_FAULT:
        logger.error("operation failed", exc_info=error)
    rule = _RULES.get(code, own_rules.OPERATION_REFUSED)
    headers = {"Retry-After": "2"} if code == UNREACHABLE else {}
    return Problem(rule=rule, reason=sentence, headers=headers)
