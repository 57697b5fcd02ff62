"""The base classes of events: a frozen record of a business fact, in the past tense."""

from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError, SchemaValidator

from shared.events.fields import CONTENT_CHECKS, PRICE_AT_MOST, Amount, Currency, Instant
from shared.events.former import without_content_checks

__all__ = ["PERSONAL", "Currency", "Event", "Instant", "Money", "Personal", "Price", "Record", "json_schema"]


class NewerRow(ValueError):
    """A row of a table that a newer version of the service has written and this one can't read."""


class Record(BaseModel):
    """A frozen value inside an event.

    Unknown fields are ignored, so that an older reader accepts events of a newer writer.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", ser_json_bytes="base64")

    @classmethod
    def from_stored(cls, data: bytes | str) -> Self:
        """Read JSON that this system wrote.

        Data from before the contents of fields were restricted is read by its types alone, as it was read then.

        Raises:
            ValidationError: if the data does not have the model's types.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            instance: Self = _types_alone(cls).validate_json(data)
            return instance

    @classmethod
    def from_row(cls, data: bytes | str) -> Self:
        """Read JSON from a table of this service.

        Raises:
            NewerRow: if this code can't read it.
        """
        try:
            return cls.from_stored(data)
        except ValidationError as error:
            raise NewerRow(f"cannot read a {cls.__name__} in a table: {error.errors()[0]['msg']}") from error


@cache
def _types_alone(model: type[Record]) -> SchemaValidator:
    return without_content_checks(model)


class _Personal:
    """The mark of a field that says who a person is, or what somebody wrote about the person."""

    def __repr__(self) -> str:
        return "PERSONAL"


PERSONAL: Final = _Personal()

Personal = Annotated[str, PERSONAL]
"""A string about the person whose `account_id` (or other `PERSONAL_OF`) the event has.

The log keeps it only encrypted under that person's key, so that erasing the key erases it. Without the key, readers get
`enc:1:…`."""


class Event(Record):
    """A business fact. The class name is its public type."""

    SCHEMA: ClassVar[int] = 1
    """The version of the event's schema, from 1."""
    PERSONAL_FIELDS: ClassVar[tuple[str, ...]] = ()
    """The names of the event's `Personal` fields."""
    PERSONAL_OF: ClassVar[str] = "account_id"
    """The field with the id whose key encrypts them."""
    # A slot, because a private attribute of pydantic would double the time that making an event takes.
    __slots__ = ("__ref",)

    @property
    def ref(self) -> str:
        """The event's id once it is in the log, "" before. Refusals name their evidence by it."""
        return getattr(self, "_Event__ref", "")

    def recorded(self, ref: str) -> Self:
        """Set the event's id in the log, and return the event."""
        object.__setattr__(self, "_Event__ref", ref)
        return self

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.PERSONAL_FIELDS = tuple(name for name, field in cls.model_fields.items() if PERSONAL in field.metadata)
        if cls.PERSONAL_FIELDS and cls.PERSONAL_OF not in cls.model_fields:
            raise TypeError(f"{cls.__name__} has personal fields, so it needs the field {cls.PERSONAL_OF}")

    @classmethod
    def type(cls) -> str:
        """Return the event's public type."""
        return cls.__name__

    def data(self) -> bytes:
        """Return the event's JSON, as it is stored and published.

        It is made once. From then on these bytes are what is hashed, published and read.
        """
        return self.__pydantic_serializer__.to_json(self)


class Money(Record):
    """An amount in the currency's minor units (cents for EUR)."""

    amount: Amount
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def times(self, count: int) -> "Money":
        """Return the amount multiplied by `count`."""
        return Money(amount=self.amount * count, currency=self.currency)


def _price(value: Money) -> Money:
    if value.amount > PRICE_AT_MOST:
        raise PydanticCustomError("price", f"A price is at most {PRICE_AT_MOST} minor units.")
    return value


CONTENT_CHECKS.add(_price)
Price: TypeAlias = Annotated[Money, AfterValidator(_price)]
"""The price of one seat for the whole commitment. Its bound keeps the totals of lines and carts within `Amount`."""


def json_schema(event: type[Event]) -> dict[str, Any]:
    """Return the event's published JSON Schema."""
    return event.model_json_schema(mode="serialization")
