"""The pages of updates: a contract with a group of pilots, an update and its rollout."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import Answer
from tests.console.samples import Sample

AT: Final = "2026-11-29T10:00:00Z"
UPDATE: Final = {
    "publisher": "autodesk",
    "update_id": "ACD-2027.2",
    "product": "autocad",
    "kind": "update",
    "title": "AutoCAD 2027.2",
    "version": "2027.2",
    "platform": "win64",
    "severity": "critical",
    "sha256": "0" * 64,
    "size_bytes": 412_000_000,
    "location": "https://updates.publisher.example/acd.msp",
    "published_at": AT,
    "supersedes": ["2027.1"],
    "approved": ["default"],
    "held": [],
    "scheduled": [],
}
GROUPS: Final = [
    {"group_id": "default", "name": "default", "members": []},
    {"group_id": "g", "name": "Pilots", "members": ["a-1"]},
]
POLICY: Final = {
    "group_id": "default",
    "cadence": "weekly",
    "period": "week",
    "days": 4,
    "critical_period": "week",
    "critical_days": 2,
    "windows": [{"weekday": "saturday", "starts": "22:00", "minutes": 270, "time_zone": "Europe/Berlin"}],
    "set_by": "a-1",
}
OFF: Final = {
    **POLICY,
    "group_id": "g",
    "cadence": "off",
    "period": None,
    "days": 0,
    "critical_period": None,
    "critical_days": 0,
    "windows": [],
    "set_by": None,
}
DECISION: Final = {
    "publisher": "autodesk",
    "update_id": "ACD-2027.2",
    "group_id": "default",
    "decision": "approved",
    "starts_at": None,
    "reason": None,
    "rollout_id": "c-1",
    "decided_by": "policy:weekly",
}
ROLLOUT: Final = {
    "rollout_id": "c-1",
    "publisher": "autodesk",
    "update_id": "ACD-2027.2",
    "product": "autocad",
    "title": "AutoCAD 2027.2",
    "version": "2027.2",
    "groups": ["default"],
    "phases": [
        {"share": 10, "success_percent": 90, "error_percent": 10},
        {"share": 90, "success_percent": 90, "error_percent": 10},
    ],
    "status": "running",
    "phase": 1,
    "reason": None,
    "targets": 2,
    "succeeded": 0,
    "failed": 1,
    "started_by": "policy:weekly",
}


def event(kind: str, actor: str = "a-1", **data: Any) -> dict[str, Any]:
    return {"type": kind, "at": AT, "actor": actor, "data": data}


MACHINE: Final = {"machine": "desk", "succeeded": False, "error": "The disk is full.", "at": AT, "excluded": None}
USER: Final = {"group_id": "default", "removed": None, "excluded": None}
ONE_ROLLOUT: Final = {
    **ROLLOUT,
    "progress": [{"targets": 1, "succeeded": 0, "failed": 1}, {"targets": 1, "succeeded": 0, "failed": 0}],
    "users": [
        {**USER, "account_id": "a-1", "phase": 1, "machines": [MACHINE]},
        {**USER, "account_id": "a-2", "phase": 2, "machines": []},
    ],
    "history": [event("RolloutStarted", "policy:weekly"), event("PhaseStarted", "policy:weekly", phase=0)],
}
OFFER: Final = {
    "rollout_id": "c-1",
    "publisher": "autodesk",
    "update_id": "ACD-2027.2",
    "product": "autocad",
    "title": "AutoCAD 2027.2",
    "version": "2027.2",
    "platform": "win64",
    "size_bytes": 1,
    "waits_for": "window",
    "opens_at": "2026-12-05T21:00:00Z",
    "installed_on": [],
    "failed_on": ["desk"],
}
POOL: Final = {
    "subscription_id": "s-1",
    "contract_id": "c",
    "product": "autocad",
    "product_name": "AutoCAD with toolsets",
    "seats": 5,
    "assigned": 2,
    "free": 3,
    "starts": "2026-11-20",
    "ends": "2027-11-19",
    "time_zone": "Europe/Berlin",
    "phase": "active",
    "until": "2027-11-19",
    "updates": True,
}
CONTRACT: Final = {"contract_id": "c", "publisher": "autodesk", "programme": "subscription"}


def many(*items: Any) -> httpx.Response:
    return httpx.Response(200, json={"items": [*items], "next": None})


def one(answer: Any) -> httpx.Response:
    return httpx.Response(200, json=answer)


ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /contracts": many(CONTRACT, {**CONTRACT, "contract_id": "d"}),
    "GET /contracts/c/access": one({"open": True, "because": []}),
    "GET /contracts/d/access": one({"open": True, "because": []}),
    "GET /contracts/c/updates": many(UPDATE),
    "GET /contracts/c/updates/autodesk/ACD-2027.2": one(UPDATE),
    "GET /contracts/c/groups": many(*GROUPS),
    "GET /contracts/c/groups/g": one({**GROUPS[1], "policy": OFF}),
    "GET /contracts/c/groups/default": one({**GROUPS[0], "policy": POLICY}),
    "GET /contracts/c/policies": many(POLICY, OFF),
    "GET /contracts/c/decisions": many(DECISION),
    "GET /contracts/c/rollouts": many(ROLLOUT),
    "GET /contracts/c/rollouts/c-1": one(ONE_ROLLOUT),
    "GET /contracts/c/groups/g/history": many(event("GroupCreated"), event("UserPutInGroup", account_id="a-1")),
    "GET /me/updates": many(OFFER),
    "GET /me/seats": many({**POOL, "seat": 1, "access": True}),
    "GET /pools": many(POOL),
}
_CONTRACT: Final = "/updates/{contract_id}"
_UPDATE: Final = f"{_CONTRACT}/of/{{publisher}}/{{update_id}}"
_GROUP: Final = f"{_CONTRACT}/groups/{{group_id}}"
_ROLLOUT: Final = f"{_CONTRACT}/rollouts/{{rollout_id}}"

SAMPLES: Final = {
    path: Sample(address, ANSWERS)
    for path, address in {
        "/updates": "/updates",
        "/updates/mine": "/updates/mine",
        _CONTRACT: "/updates/c",
        f"{_CONTRACT}/groups": "/updates/c/groups",
        f"{_CONTRACT}/policies": "/updates/c/policies",
        f"{_CONTRACT}/rollouts": "/updates/c/rollouts",
        _UPDATE: "/updates/c/of/autodesk/ACD-2027.2",
        f"{_UPDATE}/approve": "/updates/c/of/autodesk/ACD-2027.2/approve",
        f"{_UPDATE}/hold": "/updates/c/of/autodesk/ACD-2027.2/hold",
        _GROUP: "/updates/c/groups/g",
        f"{_GROUP}/file": "/updates/c/groups/g/file",
        f"{_GROUP}/policy": "/updates/c/groups/g/policy",
        _ROLLOUT: "/updates/c/rollouts/c-1",
        f"{_ROLLOUT}/{{deed}}": "/updates/c/rollouts/c-1/pause",
    }.items()
}
