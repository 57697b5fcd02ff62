"""Example data: a publisher's catalogue, as events of the publisher's own system.

Tests import this module to read the catalogue without Kafka.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from deploy import OperatorError
from deploy.cast import PUBLISHER
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events import Money, Plan, PlanListed
from shared.events.registry import inbound_topic

CATALOGUE: Final = Path(__file__).with_name("catalogue.csv")
PROGRAMME: Final = "subscription"
SOURCE: Final = f"urn:publisher:{PUBLISHER}"
TOPIC: Final = inbound_topic(PUBLISHER)
_ROWS: Final = UUID("d2f0a6f4-24a9-5e83-a1c8-6f5f3c6d8b11")


def as_publisher(env: Mapping[str, str] = os.environ) -> KafkaAccess:
    """Return the Kafka access of the publisher's system.

    The user is the publisher's if KAFKA_PUBLISHER_PASSWORD or KAFKA_PUBLISHER_PASSWORD_FILE is set, and otherwise that
    of the environment.
    """
    given = {name: env.get(f"KAFKA_PUBLISHER_{name}", "") for name in ("PASSWORD", "PASSWORD_FILE")}
    if not any(given.values()):
        return KafkaAccess.from_environment(env)
    own = {f"KAFKA_{name}": value for name, value in given.items()}
    return KafkaAccess.from_environment({**env, **own, "KAFKA_USERNAME": f"publisher-{PUBLISHER}"})


@dataclass(frozen=True, slots=True)
class Foreign:
    """A CloudEvent of the publisher's system, as a record in Kafka's binary mode."""

    id: str
    key: bytes
    headers: list[tuple[str, bytes]]
    value: bytes


def catalogue(file: Path = CATALOGUE) -> Iterator[Foreign]:
    """Yield the catalogue's rows as events.

    A row's event id is derived from its content, so that emitting it again is a repeat.

    Raises:
        OperatorError: A row is not a valid plan.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        for number, row in enumerate(rows, 1):
            try:
                yield _event(row)
            except (ValidationError, ValueError, KeyError, TypeError) as error:
                raise OperatorError(
                    f"{file.name}: row {number} ({row.get('product_id')}) is not a valid plan: {error}."
                ) from error


def _event(row: dict[str, str]) -> Foreign:
    plan = Plan.model_validate(
        {name: row[name] for name in Plan.model_fields if name not in ("publisher", "programme", "price")}
        | {
            "product_id": row["product_id"].replace("-", ""),
            "commitment_months": int(row["commitment_months"]),
            "publisher": PUBLISHER,
            "programme": PROGRAMME,
            "price": Money(amount=int(row["price"]), currency=row["currency"]),
        }
    )
    listed = datetime.combine(date.fromisoformat(row["listed"]), time.min, UTC)
    event_id = str(uuid5(_ROWS, json.dumps(row, sort_keys=True)))
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": SOURCE,
        "ce_type": PlanListed.type(),
        "ce_subject": plan.product_id,
        "ce_time": listed.isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    headers = [(name, value.encode()) for name, value in attributes.items()]
    return Foreign(event_id, plan.product_id.encode(), headers, PlanListed(plan=plan).data())
