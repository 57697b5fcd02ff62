"""The operator's verbs, a run of each kind and parked records, as the operations server answers."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import ACCOUNT, Answer
from tests.console.samples import Sample

NOON: Final = "2026-11-29T11:00:00Z"
KIM: Final = "0190f3a0-0000-7000-8000-0000000000aa"
OPERATION: Final = "operation-0190f3a0-0000-7000-8000-0000000000bb"
RECORD: Final[dict[str, Any]] = {
    "handle": "d87db9ad",
    "consumer": "entitlements.reactions",
    "topic": "publisher.inbound.v1.autodesk",
    "partition": 1,
    "offset": 34,
    "stream": None,
    "version": None,
    "type": "CreditsPurchased",
    "reason": "unreadable",
    "detail": "CreditsPurchased: amount: Input should be a valid integer",
    "fingerprint": "10602aa8",
    "behind": 2,
    "time": NOON,
}
WHOLE: Final = {**RECORD, "headers": [["ce_id", "e-1"]], "value": {"grant_id": "g-1", "amount": "12x"}}
GROUP: Final = {"fingerprint": "10602aa8", "records": 1, "behind": 2, "first": NOON, "last": NOON, "example": RECORD}


def text(description: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def verb(name: str, properties: dict[str, Any], *required: str, changes: bool = False) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        "name": name,
        "verb": name.replace("-", " "),
        "summary": "What it does.",
        "description": "More about it.",
        "changes": changes,
        "if_cancelled": "What was done stays.",
        "parameters": parameters | ({"required": [*required]} if required else {}),
    }


VERBS: Final = {
    "items": [
        verb(
            "parked-retry", {"handles": {"anyOf": [{"type": "array", "items": text()}, {"type": "null"}]}}, changes=True
        ),
        verb("timers", {"limit": {"type": "integer", "default": 50}, "due": {"type": "boolean", "default": False}}),
        verb("mail-retry", {"ids": {"type": "array", "items": {"type": "integer"}}}, changes=True),
        verb("status", {"over": {"type": "number", "default": 2.0}}),
        verb(
            "rebuild",
            {"projection": text("The projection.", examples=["marketplace.sales"]), "workers": {"type": "integer"}},
            "projection",
            changes=True,
        ),
        verb("restore-store", {"service": text()}, "service", changes=True),
        verb("webhook-resume", {"id": text()}, "id", changes=True),
        verb("webhook-test", {"id": text()}, "id", changes=True),
    ],
    "not_served": [{"verb": "export", "why": "It writes a file on the machine where it runs."}],
}


def run(**more: Any) -> dict[str, Any]:
    return {
        "id": "op-1",
        "verb": "rebuild",
        "parameters": {"projection": "marketplace.sales"},
        "by": KIM,
        "dry_run": True,
        "state": "done",
        "cancellation": None,
        "began": NOON,
        "ended": NOON,
        "progress": [],
        "sentences": [],
        "answer": None,
        "problem": None,
        **more,
    }


def said(*lines: str, plan: str | None = None, ok: bool = True, **result: Any) -> dict[str, Any]:
    return {"ok": ok, "plan": plan, "sentences": [sentence(each) for each in lines], "result": result}


def sentence(text: str, template: str = "", **values: Any) -> dict[str, Any]:
    return {"text": text, "template": template, "values": values}


def restore(service: str, state: str = "open", **more: Any) -> dict[str, Any]:
    restored = {"why": "", "continued_by": None, "folding": list[Any]()}
    pace = {"position": 41, "of": 41, "per_s": 0.0, "remaining_s": None}
    return {"service": service, "state": state, **restored, **pace, **more}


RESTORING: Final = restore(
    "marketplace",
    "restoring",
    why="begun 2026-11-29 11:00:00 UTC by Kim: lost, at position 0 of 5000",
    position=1200,
    of=5000,
    per_s=400.0,
    remaining_s=9.5,
    folding=[{"consumer": "marketplace.sales", "behind": 3800, "per_s": 120.5}],
)
RESTORES: Final[dict[str, Any]] = {
    "at": NOON,
    "kafka": None,
    "services": [restore("identity"), RESTORING, restore("entitlements"), restore("distribution")],
}
RUNNING: Final = run(
    id="op-3", verb="restore-store", parameters={"service": "marketplace"}, state="running", ended=None
)
PLAN: Final = run(answer=said("70 events would be folded again.", plan="digest-1"))


def answer(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /me": answer({**ACCOUNT, "account_id": KIM, "organisation_kind": "operator", "name": "Kim Ode"}),
    "GET /verbs": answer(VERBS),
    "GET /operations": answer({"items": [PLAN, RUNNING]}),
    "GET /operations/op-3": answer({**RUNNING, "dry_run": False}),
    "POST /verbs/restore-status": answer(said(**RESTORES)),
    "GET /operations/op-1": answer(PLAN),
    "POST /verbs/parked-group": answer(said(groups=[GROUP])),
    "POST /verbs/parked-ls": answer(said(parked=[RECORD])),
    "POST /verbs/parked-show": answer(said(**WHOLE)),
}
SAMPLES: Final = {
    "/operator/operate": Sample("/operator/operate", ANSWERS),
    "/operator/operate/parked": Sample("/operator/operate/parked", ANSWERS),
    "/operator/operate/parked/{fingerprint}": Sample("/operator/operate/parked/10602aa8", ANSWERS),
    "/operator/operate/records/{handle}": Sample("/operator/operate/records/d87db9ad", ANSWERS),
    "/operator/operate/verbs/{verb}": Sample("/operator/operate/verbs/rebuild", ANSWERS),
    "/operator/operate/operations/{operation_id}": Sample("/operator/operate/operations/op-1", ANSWERS),
    "/operator/operate/operations/{operation_id}/cancel": Sample("/operator/operate/operations/op-3/cancel", ANSWERS),
    "/operator/operate/restores": Sample("/operator/operate/restores", ANSWERS),
}
