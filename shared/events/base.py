"""What every event is made of: a frozen record of a business fact, in the past tense."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A frozen value inside an event. Unknown fields are ignored, so that an older reader accepts a newer writer."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64")


class Event(Record):
    """A fact. Its class name is its public type; `SCHEMA` counts the versions of its shape, from 1."""

    SCHEMA: ClassVar[int] = 1
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
    def type(cls) -> str:
        return cls.__name__

    def data(self) -> bytes:
        """The event's JSON, as stored and published. Made once: afterwards the bytes are the event."""
        return self.__pydantic_serializer__.to_json(self)


Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Money(Record):
    """An amount in the currency's minor units (cents for EUR)."""

    amount: int
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise ValueError(f"{other.currency} can't be added to {self.currency}")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def times(self, count: int) -> "Money":
        return Money(amount=self.amount * count, currency=self.currency)


def json_schema(event: type[Event]) -> dict[str, Any]:
    """The event's published JSON Schema."""
    return event.model_json_schema(mode="serialization")
