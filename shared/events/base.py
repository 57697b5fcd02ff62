"""What every event is made of: a frozen record of a business fact, in the past tense."""

from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError, SchemaValidator

from shared.events.fields import CONTENT_CHECKS, PRICE_AT_MOST, Amount, Currency, Instant
from shared.events.former import without_content_checks

__all__ = ["PERSONAL", "Currency", "Event", "Instant", "Money", "Personal", "Price", "Record", "json_schema"]


class NewerRow(ValueError):
    """A table holds what this code can't read: a newer version of the service has written it."""


class Record(BaseModel):
    """A frozen value inside an event. Unknown fields are ignored, so that an older reader accepts a newer writer."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", ser_json_bytes="base64")

    @classmethod
    def from_stored(cls, data: bytes | str) -> Self:
        """Read what this system itself once wrote. What was accepted before the contents of fields were restricted is
        read by its types alone, as it was read then. Raises ValidationError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            found: Self = _types_alone(cls).validate_json(data)
            return found

    @classmethod
    def from_row(cls, data: bytes | str) -> Self:
        """Read what a table of this service holds. Raises NewerRow where this code can't."""
        try:
            return cls.from_stored(data)
        except ValidationError as error:
            raise NewerRow(f"a {cls.__name__} in a table: {error.errors()[0]['msg']}") from error


@cache
def _types_alone(model: type[Record]) -> SchemaValidator:
    return without_content_checks(model)


class _Personal:
    """Marks a field that says who a person is, or what somebody wrote about them."""

    def __repr__(self) -> str:
        return "PERSONAL"


PERSONAL: Final = _Personal()

Personal = Annotated[str, PERSONAL]
"""A string about the person whose `account_id` (or other `PERSONAL_OF`) the event has. The log keeps it only under that
person's key, so that it can be forgotten; who has not the key reads `enc:1:…`."""


class Event(Record):
    """A fact. Its class name is its public type; `SCHEMA` counts the versions of its shape, from 1."""

    SCHEMA: ClassVar[int] = 1
    PERSONAL_FIELDS: ClassVar[tuple[str, ...]] = ()
    """The names of its `Personal` fields."""
    PERSONAL_OF: ClassVar[str] = "account_id"
    """The field that says whose they are: the id that their key is kept under."""
    # A slot, not a private attribute of pydantic's: that costs as much as all the rest of making an event.
    __slots__ = ("__ref",)

    @property
    def ref(self) -> str:
        """The event's id once it is in the log, "" before. A refusal names the facts that justify it by this."""
        return getattr(self, "_Event__ref", "")

    def recorded(self, ref: str) -> Self:
        """This event, knowing its id in the log."""
        object.__setattr__(self, "_Event__ref", ref)
        return self

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.PERSONAL_FIELDS = tuple(name for name, field in cls.model_fields.items() if PERSONAL in field.metadata)
        if cls.PERSONAL_FIELDS and cls.PERSONAL_OF not in cls.model_fields:
            raise TypeError(f"{cls.__name__} has personal fields and does not say whose: it needs {cls.PERSONAL_OF}")

    @classmethod
    def type(cls) -> str:
        return cls.__name__

    def data(self) -> bytes:
        """The event's JSON, as stored and published. Made once: afterwards the bytes are the event."""
        return self.__pydantic_serializer__.to_json(self)


class Money(Record):
    """An amount in the currency's minor units (cents for EUR)."""

    amount: Amount
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise ValueError(f"{other.currency} can't be added to {self.currency}")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def times(self, count: int) -> "Money":
        return Money(amount=self.amount * count, currency=self.currency)


def _price(value: Money) -> Money:
    if value.amount > PRICE_AT_MOST:
        raise PydanticCustomError("price", f"A price is at most {PRICE_AT_MOST} minor units.")
    return value


CONTENT_CHECKS.add(_price)
Price: TypeAlias = Annotated[Money, AfterValidator(_price)]
"""What one seat costs for the whole commitment. What follows from it for every seat and line is an amount, too."""


def json_schema(event: type[Event]) -> dict[str, Any]:
    """The event's published JSON Schema."""
    return event.model_json_schema(mode="serialization")
