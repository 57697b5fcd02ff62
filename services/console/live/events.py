"""Publishers' events by HTTP: they are kept on Kafka, and their outcomes are read."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import quote

import httpx
import structlog
from fastapi import Request
from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.doors import Doors
from services.console.live import rules as own_rules
from services.console.live.callers import Subscriber
from services.console.live.described import binary_mode
from services.console.live.edge import LiveEdge
from services.console.live.limits import BATCH_EVENTS
from services.console.live.sent import events_of, is_batch
from shared.documents.examples import example_data, example_envelope
from shared.eventlog.deliver.inbox import Checked, NotKept, Refusal, checked
from shared.eventlog.deliver.received import Reason
from shared.events.envelope import Unreadable, publisher_of, to_headers
from shared.events.publisher import OrderConfirmed
from shared.events.registry import ANSWERING
from shared.events.structured import BATCH, STRUCTURED
from shared.rule_status import Rule
from shared.runtime.outcomes import EventOutcomes
from shared.runtime.problems import Problem, ProblemDetails, unavailable, unknown
from shared.runtime.visibility import publisher_only, sells

logger = structlog.get_logger("events")

PUBLISH: Final = "events:publish"
"""The scope that a publisher's machine needs to send events."""
UNFIT: Final[Mapping[Reason, Rule]] = {
    "unreadable": own_rules.UNREADABLE,
    "unknown-type": own_rules.UNKNOWN_TYPE,
    "refused": own_rules.REFUSED,
}
"""Why an event may not be on its publisher's topic: the rules of such records' outcomes."""
AGAIN_S: Final = 0.25
"""How long to wait before the services are asked again for an outcome."""
ASK_S: Final = 5.0


class TakenEvent(BaseModel):
    """An event that is kept, and decided on soon."""

    status: Literal[202] = 202
    source: str
    id: str
    type: str
    location: str
    """Where its outcome is read."""


class RefusedEvent(BaseModel):
    """An event of a batch that was refused, as it would be refused alone."""

    status: int
    problem: ProblemDetails


class BatchAnswer(BaseModel):
    """The answers to a batch's events, in their order."""

    results: list[TakenEvent | RefusedEvent]


async def publish(request: Request, edge: LiveEdge) -> Response:
    """Take the events of a request, keep them, and answer each."""
    caller = await edge.callers.by(request.headers.get("authorization"), (PUBLISH,))
    publisher = publisher_only(caller.actor)
    if not caller.actor.client_id:
        raise Problem(
            rule=own_rules.MACHINES_ONLY,
            reason="Only machine accounts send events.",
            remedy="Use the routes under /publisher of marketplace and distribution, or a machine account.",
        )
    edge.limits.take("events", caller.account)
    content_type = request.headers.get("content-type", "")
    given = events_of(content_type, request.scope["headers"], await request.body())
    now = datetime.now(UTC)
    found = [
        Refusal("unreadable", str(each)) if isinstance(each, Unreadable) else checked(each, publisher, now)
        for each in given
    ]
    await _keep(edge, caller, publisher, [each for each in found if isinstance(each, Checked)])
    for each in found:
        edge.count(publisher, "kept" if isinstance(each, Checked) else "refused")
    answers = [_answer(each) for each in found]
    if is_batch(content_type):
        refused = any(isinstance(each, Problem) for each in answers)
        results = [_refused(each) if isinstance(each, Problem) else each for each in answers]
        status = HTTPStatus.MULTI_STATUS if refused else HTTPStatus.ACCEPTED
        return _json(BatchAnswer(results=results), status)
    (answer,) = answers
    if isinstance(answer, Problem):
        raise answer
    return _json(answer, HTTPStatus.ACCEPTED, {"Location": answer.location})


async def _keep(edge: LiveEdge, caller: Subscriber, publisher: str, events: Sequence[Checked]) -> None:
    if not events:
        return
    try:
        await edge.inbox.keep(publisher, events, {"client-id": caller.actor.client_id})
    except NotKept as fault:
        for _ in events:
            edge.count(publisher, "not-kept")
        logger.warning("events could not be kept", publisher=publisher, events=len(events), fault=str(fault))
        raise unavailable(
            "It is not known whether the events are kept: Kafka has not acknowledged them.",
            "Send them again, with the same ids; each has one effect.",
        ) from fault
    logger.info("events kept", publisher=publisher, events=len(events), client_id=caller.actor.client_id)


def _answer(found: Checked | Refusal) -> TakenEvent | Problem:
    if isinstance(found, Refusal):
        return Problem(rule=UNFIT[found.rule], reason=found.reason, remedy=found.remedy)
    envelope = found.envelope
    location = f"/events/{quote(envelope.source, safe=':')}/{quote(envelope.id, safe='')}"
    return TakenEvent(source=envelope.source, id=envelope.id, type=envelope.type, location=location)


def _refused(problem: Problem) -> RefusedEvent:
    details = ProblemDetails.model_validate_json(bytes(problem.response().body))
    return RefusedEvent(status=problem.status, problem=details)


def _json(answer: BaseModel, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(answer.model_dump_json(), status, kept, media_type="application/json")


# ── Outcomes ───────────────────────────────────────────────────────────────────────────────────────────


async def outcomes_of(request: Request, edge: LiveEdge, source: str, event_id: str, wait_s: float) -> EventOutcomes:
    """Return what became of an event, by the service that decided on it.

    Args:
        wait_s: How long to wait for the first outcome, if there is none yet.
    """
    authorization = request.headers.get("authorization")
    caller = await edge.callers.by(authorization, ("read", PUBLISH))
    until, doors = time.monotonic() + wait_s, request.app.state.doors
    with edge.callers.admitted(caller):
        while sells(caller.actor, publisher_of(source)) and publisher_of(source):
            found = await _asked(doors, authorization or "", source, event_id)
            if found is not None:
                return found
            if time.monotonic() + AGAIN_S > until or edge.stopping or edge.callers.ended(caller):
                break
            await asyncio.sleep(AGAIN_S)
    raise unknown("event", "Check its source and id. One that was just sent is answered within seconds: wait for it.")


async def _asked(doors: Doors, authorization: str, source: str, event_id: str) -> EventOutcomes | None:
    """Ask all services that decide on publishers' events.

    Raises:
        Problem: 503 if one that may know the event is silent.
    """
    at = f"/events/{quote(source, safe=':')}/{quote(event_id, safe='')}"
    answers = await asyncio.gather(
        *(
            doors.client.get(doors.urls[name] + at, headers={"Authorization": authorization}, timeout=ASK_S)
            for name in ANSWERING
        ),
        return_exceptions=True,
    )
    found, silent = list[EventOutcomes](), False
    for answer in answers:
        if isinstance(answer, httpx.HTTPError):
            silent = True
        elif isinstance(answer, BaseException):
            raise answer
        elif answer.status_code == HTTPStatus.OK:
            found.append(EventOutcomes.model_validate_json(answer.content))
        else:
            silent = silent or answer.status_code != HTTPStatus.NOT_FOUND
    if found:
        outcomes = sorted((each for one in found for each in one.outcomes), key=lambda each: each.time, reverse=True)
        return found[0].model_copy(update={"outcomes": outcomes})
    if silent:
        raise unavailable("A service that may know the event does not answer now.")
    return None


# ── For the document ───────────────────────────────────────────────────────────────────────────────────


def _example(**attributes: str) -> dict[str, JsonValue]:
    """Return an example of an event in JSON."""
    headers = {name: value.decode() for name, value in to_headers(example_envelope(OrderConfirmed, sent=True))}
    said = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    return {
        **said,
        "datacontenttype": "application/json",
        "data": json.loads(example_data(OrderConfirmed)),
        **attributes,
    }


def request_body() -> dict[str, JsonValue]:
    """Return the description of the body of a request with events."""
    attributes = ("specversion", "id", "source", "type")
    event: JsonValue = {
        "type": "object",
        "required": [*attributes],
        "properties": {
            **{name: {"type": "string", "minLength": 1, "maxLength": 500} for name in attributes},
            "data": {"description": "As `/schemas` of the services has it, for senders, by `type`."},
        },
        "additionalProperties": {"description": "Another attribute, such as `time`, or an extension."},
        "description": "A CloudEvent 1.0 in JSON.",
    }
    batch: JsonValue = {"type": "array", "items": event, "minItems": 1, "maxItems": BATCH_EVENTS}
    content: JsonValue = {
        STRUCTURED: {"schema": event, "example": _example()},
        BATCH: {"schema": batch, "example": [_example(), _example(id="another")]},
        "application/json": {
            "schema": {
                "description": "The data alone, with the event's attributes in the headers `ce-id`, `ce-source`…"
            },
            "example": json.loads(example_data(OrderConfirmed)),
        },
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [*binary_mode()]}
