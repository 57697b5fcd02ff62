"""An example of each event, made from its model.

Equal names of fields have equal values, so that the examples of several events fit together.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from uuid import NAMESPACE_URL, uuid5

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from shared.events.base import Event
from shared.events.envelope import Envelope, hashed, source_of
from shared.events.outcomes import RecordAnswered
from shared.events.registry import ANSWERING, EVENTS_ON, inbound_topic, service_of

SEALED: Final = "enc:1:3q2+7wAAESIzRFVmd4iZqrvM3e7/ABEiM0RVZneImaq7zN3u"
"""An example of a personal field on a topic."""
_PUBLISHED_BY: Final[Mapping[str, str]] = {
    event.type(): service for topic, events in EVENTS_ON.items() if (service := service_of(topic)) for event in events
}
_TIME: Final = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
_TEXTS: Final[Mapping[str, str]] = {
    "actor": "policy:thresholds",
    "component": "core",
    "country": "DE",
    "csn": "5500112233",
    "event_source": "urn:publisher:autodesk",
    "currency": "EUR",
    "issuer": "https://login.example.org",
    "kind": "webhook-parked",
    "locale": "de-DE",
    "location": "https://updates.example.org/atlas-2027.1.msp",
    "machine": "WS-0117",
    "name": "Grace Hopper",
    "organisation_name": "Northhaus GmbH",
    "platform": "windows",
    "product": "atlas",
    "product_id": "C1RK1WW1762L158",
    "product_name": "Atlas",
    "programme": "atlas-subscription",
    "publisher": "autodesk",
    "reason": "No longer needed.",
    "reference": "4500017",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "starts": "22:00",
    "time_zone": "Europe/Berlin",
    "title": "Atlas 2027.1",
    "topic": inbound_topic("autodesk"),
    "update_id": "atlas-2027-1",
    "version": "2027.1",
}
"""Values for the fields that are no ids of this system."""
_IDS: Final = ("_id", "_by", "customer", "partner", "purchaser", "request")
"""How the names of fields with ids of this system end."""
_OTHER_IDS: Final = frozenset({"acts_for", "group", "order", "to"})
"""The names of other fields with ids of this system."""
_NUMBERS: Final[Mapping[str, int]] = {
    "after": 0,
    "ahead_s": 86_400,
    "amount": 120_000,
    "commitment_months": 12,
    "critical_days": 2,
    "days": 14,
    "days_before": 90,
    "error_percent": 5,
    "minutes": 240,
    "phase": 1,
    "share": 100,
    "size_bytes": 734_003_200,
    "success_percent": 95,
    "targets": 40,
}
"""Values for the numbers that are not small."""
_REJECTED: Final[dict[str, Any]] = {
    "status": "rejected",
    "event_type": "OrderAccepted",
    "rule": "unknown-type",
    "reason": "the type OrderAccepted is unknown",
    "remedy": "Correct the event, and send it under another id.",
    "because": (),
    "events": (),
}
_DAYS: Final[Mapping[str, date]] = {"starts": date(2026, 12, 1), "valid_from": date(2026, 12, 1)}
_OTHER_TEXTS: Final = ("An example.", "example", "22:00", "grace@example.org", "DE", "0" * 64)
"""For the fields of other names: the first one that the field accepts."""


@cache
def example_of(event: type[Event]) -> Event:
    """Return an example of an event, as it was decided: its personal fields are readable."""
    return event.model_validate(_filled(event) | (_REJECTED if event is RecordAnswered else {}))


def example_data(event: type[Event]) -> bytes:
    """Return the JSON of the example, as it is on a topic: its personal fields are sealed."""
    example = example_of(event)
    return example.model_copy(update=dict.fromkeys(event.PERSONAL_FIELDS, SEALED)).data()


def example_envelope(event: type[Event], *, sent: bool = False) -> Envelope:
    """Return the envelope of the example: a stream's first event.

    With `sent`, it is what a publisher's system sends.
    """
    name = event.type()
    if event is RecordAnswered:
        return _example_answer(json.loads(example_data(event)))
    sent = sent or name not in _PUBLISHED_BY
    envelope = Envelope(
        id=_id(f"event {name}"),
        source="urn:publisher:autodesk" if sent else source_of(_PUBLISHED_BY[name]),
        type=name,
        stream=_TEXTS["publisher"] if sent else f"example:{_id('stream')}",
        time=_TIME,
        schema=event.SCHEMA,
    )
    if sent:
        return envelope
    numbered = envelope._replace(
        version=1,
        position=1,
        correlation_id=_id("correlation"),
        causation_id=_id("command"),
        actor=_id("account"),
        tenant=_id("organisation"),
    )
    return hashed(numbered, example_data(event))


def _example_answer(answer: Mapping[str, Any]) -> Envelope:
    return Envelope(
        id="{topic}:{partition}:{offset}:{status}".format_map(answer),
        source=source_of(ANSWERING[0]),
        type=RecordAnswered.type(),
        stream=answer["event_id"],
        time=_TIME,
        causation_id=answer["event_id"],
        tenant=_TEXTS["publisher"],
    )


def is_id(name: str) -> bool:
    """Return whether the text fields of this name are ids of this system."""
    return name not in _TEXTS and (name in _OTHER_IDS or name.endswith(_IDS))


def text_for(name: str) -> str:
    """Return the value of the text fields of this name, "" if any text does."""
    return _TEXTS.get(name, _id(name.removesuffix("_id")) if is_id(name) else "")


def number_for(name: str) -> int:
    """Return the value of the number fields of this name."""
    return _NUMBERS.get(name, 3)


def _id(of: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"https://example.org/{of}"))


def _filled(model: type[BaseModel]) -> dict[str, Any]:
    fields = model.model_fields.items()
    return {name: _value(Annotated[(field.annotation, name, *field.metadata)], name) for name, field in fields}


def _value(kind: Any, name: str) -> Any:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    arguments = get_args(bare)
    if get_origin(bare) is Literal:
        return arguments[0]
    if get_origin(bare) is tuple:
        return (_value(arguments[0], name),)
    if arguments:  # optional: the value, not None
        return _value(arguments[0], name)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return bare.model_validate(_filled(bare))
    if bare is str:
        return _text(kind, name)
    plain: dict[Any, Any] = {
        int: number_for(name),
        bool: name != "sandbox",
        date: _DAYS.get(name, date(2027, 12, 1)),
        AwareDatetime: _TIME,
    }
    return plain[bare]


def _text(kind: Any, name: str) -> str:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    known = text_for(name)
    for text in (known, *_OTHER_TEXTS) if known else _OTHER_TEXTS:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            continue
    raise LookupError(f"there is no example for the field {name}: add one to _TEXTS")
