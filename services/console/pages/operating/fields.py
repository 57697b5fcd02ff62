"""The words of the fields of verbs' results, and which of them a page shows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from services.console.pages.operating.words import LABELS
from services.console.texts import Texts, marked

FIELDS: Final[Mapping[str, str]] = {
    "agrees": marked("The tables agree"),
    "bytes": marked("Disk"),
    "chain": marked("Chain"),
    "checkpoints": marked("Checkpoints"),
    "clocks": marked("Clocks"),
    "commands": marked("Commands"),
    "consumers": marked("Consumers"),
    "due": marked("Timers that are due"),
    "events": marked("Events"),
    "fault": marked("Why it can't be read"),
    "fenced": marked("Why it takes no commands"),
    "groups": marked("Groups"),
    "head": marked("Newest position"),
    "keys": marked("Keys"),
    "lag": marked("Records to process"),
    "lag_s": marked("The oldest waits for"),
    "last": marked("The last one"),
    "looked_at": marked("Looked through"),
    "mails": marked("Mails"),
    "missing": marked("Missing"),
    "newest": marked("Newest"),
    "notifications": marked("Notifications"),
    "parked": marked("Parked"),
    "partitions": marked("Partitions"),
    "per_s": marked("Change in a second"),
    "ready": marked("Ready"),
    "records": marked("Records"),
    "refusals": marked("Refusals"),
    "relay_behind_s": marked("The oldest event waits to be published for"),
    "relayed": marked("Published up to"),
    "rows_now": marked("Rows now"),
    "services": marked("Services"),
    "streams": marked("Streams"),
    "timers": marked("Timers"),
    "took_s": marked("Took"),
    "topics": marked("Topics"),
    "type": marked("Event type"),
    "waiting_for": marked("Waits for"),
    "webhooks": marked("Webhooks"),
    "why": marked("Why"),
}
COLUMNS: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("status", "services"): (
        "ready",
        "waiting_for",
        "fault",
        "fenced",
        "parked",
        "relay_behind_s",
        "due",
        "bytes",
    ),
    ("status", "consumers"): ("consumer", "lag", "lag_s", "per_s", "parked"),
}
"""The columns of a verb's table, where its result has more than a person needs. All of it is below, as JSON."""
_UNITS: Final = ("_per_s", "_s", "_bytes")


def field_of(name: str, texts: Texts) -> str:
    """Return the name of a field for people."""
    known = FIELDS.get(name) or LABELS.get(name)
    if known is not None:
        return texts.gettext(known)
    bare = next((name.removesuffix(unit) for unit in _UNITS if name.endswith(unit)), name)
    return bare.replace("_", " ").capitalize()


def number_of(name: str, value: int | float, texts: Texts) -> str:
    """Return the number of a field with its unit, which the end of its name says."""
    if name == "bytes" or name.endswith("_bytes"):
        return texts.size(int(value))
    if name == "per_s" or name.endswith("_per_s"):
        return f"{texts.number(_rounded(value))}/s"
    return texts.seconds(value) if name.endswith("_s") else texts.number(_rounded(value))


def _rounded(value: int | float) -> int | Decimal:
    return value if isinstance(value, int) else round(Decimal(value), 3)
