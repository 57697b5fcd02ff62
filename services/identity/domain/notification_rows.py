"""The rows of the table of notifications, and the subjects that their texts name.

A text is English, and the key of its translation in `notifications/locale/`. Its places have a form: `{ends:date}` is
written as the reader writes dates. Besides an event's own facts, a text can name the product, customer and partner of
the event's subject: a subscription, a rollout or an update.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, TypeAlias, TypeVar, cast

from services.identity.domain.notifications import NotificationKind
from shared.events import RolloutStarted, SubscriptionConfirmed, SubscriptionOrdered, UpdatePublished
from shared.events.base import Event, Money

Audience: TypeAlias = Literal[
    "administrators", "inviter", "manager", "managers-of-people", "orderer", "person", "purchaser", "registrant"
]
"""Who is told.

Of the contract: its Contract Manager and Software Coordinators, or the manager alone. Of the order: who ordered it, or
those who manage the partner's people if that account is closed, and the purchaser. Of the organisation that the event
names: those who manage its people. The person whom the event is about, who issued the invitation, and who registered
the webhook."""
Fact: TypeAlias = str | int | date | datetime | Money
Facts: TypeAlias = Mapping[str, Fact]

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A row of the table: what is said of an event, and to whom."""

    event: type[Event]
    kind: NotificationKind
    to: tuple[Audience, ...]
    title: str
    text: str
    facts: Callable[[Event], Facts]
    variant: str
    """Tells the rows of one event apart."""
    applies: Callable[[Event], bool]
    own: bool
    """Whether who caused the event is told, too: the answer came later, or it may have been somebody else."""
    organisation: Callable[[Event], str]
    """The organisation whose managers of people are told."""

    @property
    def template(self) -> str:
        """The name by which a stored notification finds its row."""
        return f"{self.event.type()}:{self.variant}" if self.variant else self.event.type()


def _nothing(_event: Event) -> Facts:
    return {}


def _always(_event: Event) -> bool:
    return True


def _nobody(_event: Event) -> str:
    return ""


def tell(
    event: type[E],
    kind: NotificationKind,
    *to: Audience,
    title: str,
    text: str,
    facts: Callable[[E], Facts] = _nothing,
    variant: str = "",
    applies: Callable[[E], bool] = _always,
    own: bool = False,
    organisation: Callable[[E], str] = _nobody,
) -> Notification:
    """Return a row of the table."""
    return Notification(
        event=event,
        kind=kind,
        to=to,
        title=title,
        text=text,
        facts=cast(Callable[[Event], Facts], facts),
        variant=variant,
        applies=cast(Callable[[Event], bool], applies),
        own=own,
        organisation=cast(Callable[[Event], str], organisation),
    )


# ── Subjects ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What later events are about: a subscription, a rollout or an update."""

    subject_id: str
    contract_id: str = ""
    customer: str = ""
    partner: str = ""
    ordered_by: str = ""
    purchaser: str = ""
    product: str = ""
    """The product's name, the update's title, or a rollout's version."""
    update: str = ""
    """The subject of a rollout's update."""


NOBODY: Final = Subject(subject_id="")
"""The subject of an event that has none."""


def subject_in(event: SubscriptionOrdered | SubscriptionConfirmed | UpdatePublished | RolloutStarted) -> Subject:
    """Return the subject that this event introduces."""
    match event:
        case UpdatePublished():
            return Subject(subject_id=_update(event.publisher, event.update_id), product=event.title)
        case RolloutStarted():
            return Subject(
                subject_id=event.rollout_id,
                contract_id=event.contract_id,
                customer=event.customer,
                product=event.version,
                update=_update(event.publisher, event.update_id),
            )
        case SubscriptionOrdered() | SubscriptionConfirmed():
            return Subject(
                subject_id=event.subscription_id,
                contract_id=event.contract_id,
                customer=event.customer,
                partner=event.partner,
                ordered_by=event.ordered_by if isinstance(event, SubscriptionOrdered) else "",
                purchaser=event.purchaser,
                product=event.plan.product_name,
            )


def subject_of(event: Event) -> str:
    """Return the id of the event's subject, "" for none."""
    for name in ("rollout_id", "subscription_id"):
        if named := text_of(event, name):
            return named
    update_id = text_of(event, "update_id")
    return _update(text_of(event, "publisher"), update_id) if update_id else ""


def text_of(event: Event, name: str) -> str:
    """Return a field of an event that may have it, or ""."""
    value = getattr(event, name, "")
    return value if isinstance(value, str) else ""


def _update(publisher: str, update_id: str) -> str:
    return f"update:{publisher}:{update_id}"
