"""What the pages read of the operations server: the answers of the verbs of `tenure`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, JsonValue


class FoundOrganisation(BaseModel):
    """An organisation whose id or name was searched for."""

    organisation_id: str
    name: str
    kind: str


class LastEvent(BaseModel):
    """The last event of a stream."""

    id: str
    type: str
    time: datetime


class FoundStream(BaseModel):
    """A stream with its first and last event."""

    service: str
    stream: str
    versions: int
    began: datetime
    last: LastEvent
    tenant: str
    sandbox: bool


class FoundEvent(BaseModel):
    """An event whose id was searched for."""

    id: str
    type: str
    stream: str
    version: int


class FoundStreams(BaseModel):
    """What a text means to the operator. Of the verb `stream find`."""

    organisations: list[FoundOrganisation]
    account: str | None
    event: FoundEvent | None
    streams: list[FoundStream]
    more: int


# ── stream show ────────────────────────────────────────────────────────────────────────────────────────


class Change(BaseModel):
    """A field of a stream's state that an event has changed."""

    field: str
    before: JsonValue
    after: JsonValue
    added: bool
    removed: bool


class StreamEvent(BaseModel):
    """An event of a stream, with the state after it where that is wanted."""

    id: str
    type: str
    version: int
    position: int
    time: datetime
    actor: str
    tenant: str
    sandbox: bool
    data: JsonValue
    changed: list[Change]
    state: JsonValue = None


class ShownStream(BaseModel):
    """A part of a stream. Of the verb `stream show`."""

    service: str
    stream: str
    looked_at: int
    before: int
    chain: str
    events: list[StreamEvent]


# ── why ────────────────────────────────────────────────────────────────────────────────────────────────


class EventOutcome(BaseModel):
    """What became of a publisher's event, by the service that decided on it."""

    service: str
    status: str
    rule: str
    reason: str
    remedy: str
    time: datetime


class RelatedEvent(BaseModel):
    """An event that has the first cause in common with the one that was asked for."""

    id: str
    type: str
    service: str | None
    source: str
    stream: str
    version: int | None
    time: datetime
    actor: str
    sandbox: bool
    key: str
    cause: str
    causation: str
    where: str | None
    outcomes: list[EventOutcome] = []
    """The newest of each service; none of a service's own event."""


class CutOff(BaseModel):
    """A search in a store that ended at its limit."""

    service: str
    left: int


class Inbound(BaseModel):
    """The searches of publishers' topics."""

    problem: str | None


class NotFollowed(BaseModel):
    """The numbers beyond the limits of what is followed."""

    correlations: int
    publishers_events: int


class Explained(BaseModel):
    """An event with its causes and effects. Of the verb `why`."""

    asked: str
    asked_keys: list[str]
    inbound: Inbound | None
    cut_off: list[CutOff]
    not_followed: NotFollowed
    events: list[RelatedEvent]


# ── now ────────────────────────────────────────────────────────────────────────────────────────────────


class Latency(BaseModel):
    """How long commands took, in seconds; None without any."""

    commands: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


class ServiceLatency(BaseModel):
    """How long a service's commands took in an interval, in seconds; None without any."""

    commands: int
    p50_s: float | None
    p99_s: float | None


class Interval(BaseModel):
    """The figures of an interval that ended then, by service.

    A service that did not answer is left out.
    """

    at: datetime
    services: dict[str, ServiceLatency]


class LatencyHistory(BaseModel):
    """Command latency over time, oldest first. Of operations's `GET /latency`."""

    at: datetime
    every_s: float
    kept: int
    intervals: list[Interval]


class ServiceNow(BaseModel):
    """What a service does now."""

    service: str
    fault: str | None
    commands_per_s: float
    refused_per_s: float
    latency: Latency
    latency_since_start: Latency
    relay_behind_events: int | None
    relay_behind_s: float | None
    parked: int | None
    timers_due: int | None
    timers_late_s: float | None


class ConsumerNow(BaseModel):
    """How far a consumer is behind."""

    consumer: str
    lag: int | None
    lag_s: float | None
    parked: int


class TermsEnding(BaseModel):
    """The terms that end between two days from now."""

    first_day: int
    last_day: int
    renewing: int
    asked: int
    ending: int


class RolloutNow(BaseModel):
    """A rollout under way."""

    rollout_id: str
    title: str
    version: str
    status: Literal["running", "paused"]
    reason: str | None
    phase: int
    phases: int
    targets: int
    succeeded: int
    failed: int


class SystemNow(BaseModel):
    """What the system does now. Of the verb `now`."""

    at: datetime
    over_s: float
    wrong: list[str]
    services: list[ServiceNow]
    consumers: list[ConsumerNow]
    terms: list[TermsEnding]
    rollouts: list[RolloutNow]
    more_rollouts: int


# ── restore status ─────────────────────────────────────────────────────────────────────────────────────


class Folding(BaseModel):
    """A projection that has records left to fold."""

    consumer: str
    behind: int
    per_s: float


class ServiceRestore(BaseModel):
    """The store of a service, and the restore that it or its topic is in."""

    service: str
    state: Literal["open", "running", "restoring", "publishing", "interrupted", "fenced", "unreadable"]
    why: str
    continued_by: str | None
    position: int | None
    of: int | None
    per_s: float
    remaining_s: float | None
    folding: list[Folding]


class Restores(BaseModel):
    """Which stores and topics are being restored. Of the verb `restore status`."""

    at: datetime
    kafka: str | None
    services: list[ServiceRestore]
