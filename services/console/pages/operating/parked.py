"""Parked records: groups by error, the records of one, and one with the form to edit it."""

import json
from datetime import datetime
from typing import Final

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.deeds import again, refuse
from services.console.doors import Refused
from services.console.pages.operating.server import begin
from services.console.pages.operating.words import worded
from services.console.texts import marked
from services.console.verbs import check_operator, result_of
from services.console.visits import Visit

DETAIL: Final = 200
"""How much of an error the list of groups shows."""
NOT_JSON: Final = marked("This is not JSON: %(why)s, in line %(line)s.")


class Record(BaseModel):
    """A parked record without its bytes."""

    handle: str
    consumer: str
    topic: str
    partition: int
    offset: int
    stream: str | None
    version: int | None
    type: str | None
    reason: str
    detail: str
    fingerprint: str
    behind: int
    time: datetime


class Group(BaseModel):
    """Records that failed for the same cause."""

    fingerprint: str
    records: int
    behind: int
    first: datetime
    last: datetime
    example: Record


class Groups(BaseModel):
    """All groups, the largest first."""

    groups: list[Group]


class Records(BaseModel):
    """Records of a group, oldest first."""

    parked: list[Record]


class WholeRecord(Record):
    """A parked record with its headers and its body."""

    headers: list[tuple[str, str]]
    value: JsonValue


async def groups(visit: Visit) -> Response:
    """List the groups, of all consumers or of one, of all streams or of one."""
    check_operator(visit)
    consumer, stream = (visit.request.query_params.get(name, "").strip() for name in ("consumer", "stream"))
    try:
        found = await result_of(visit, "parked-group", Groups, consumer=consumer, stream=stream)
    except Refused as refused:
        if not (consumer or stream):
            raise
        visit.form.refuse(refused, visit.texts)
        found = Groups(groups=[])
    details = [worded(each.example.detail[:DETAIL], visit.texts) for each in found.groups]
    asked = {name: value for name, value in (("consumer", consumer), ("stream", stream)) if value}
    return visit.page("operating/parked.html", groups=found.groups, details=details, asked=asked)


async def group(visit: Visit) -> Response:
    """List the records of a group."""
    check_operator(visit)
    fingerprint = visit.id("fingerprint")
    found = await result_of(visit, "parked-ls", Records, group=fingerprint)
    detail = worded(found.parked[0].detail, visit.texts) if found.parked else ""
    return visit.page("operating/group.html", fingerprint=fingerprint, records=found.parked, detail=detail)


async def record(visit: Visit) -> Response:
    """Show a record, and the form that edits it."""
    check_operator(visit)
    found = await result_of(visit, "parked-show", WholeRecord, handle=visit.id("handle"))
    is_json = not isinstance(found.value, str)
    body = json.dumps(found.value, indent=2, ensure_ascii=False) if is_json else str(found.value)
    visit.form.values.setdefault("value", body)
    visit.form.values.setdefault("header", "")
    return visit.page("operating/record.html", record=found, detail=worded(found.detail, visit.texts))


async def edit(visit: Visit) -> Response:
    """Show what would change in the record."""
    check_operator(visit)
    found = await result_of(visit, "parked-show", WholeRecord, handle=visit.id("handle"))
    written, headers = visit.form["value"], [line for line in visit.form["header"].splitlines() if line.strip()]
    if not isinstance(found.value, str):
        try:
            written = json.dumps(json.loads(written), separators=(",", ":"), ensure_ascii=False)
        except (ValueError, RecursionError) as fault:
            why, line = (fault.msg, fault.lineno) if isinstance(fault, json.JSONDecodeError) else (str(fault), 1)
            visit.form.errors["value"] = visit.texts.gettext(NOT_JSON) % {"why": why, "line": line}
            return await again(visit, record)
        changed = written != json.dumps(found.value, separators=(",", ":"), ensure_ascii=False)
    else:
        changed = written != found.value
    parameters: dict[str, JsonValue] = {"handle": found.handle}
    parameters |= {"value": written} if changed else {}
    parameters |= {"header": [*headers]} if headers else {}
    try:
        return await begin(visit, "parked-edit", parameters)
    except Refused as refused:
        return await refuse(visit, refused, record)
