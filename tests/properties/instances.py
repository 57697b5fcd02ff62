"""Strategies for every instance of an event model that its field types accept, the extremes among them."""

import types
import typing
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, TypeVar

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from shared.events import fields
from shared.events.base import PERSONAL, Money, Price

M = TypeVar("M", bound=BaseModel)

_WORDS: Final = (
    "好" * 200,
    "𝒳" * 200,
    "नमस्ते",
    "خانه\u200cها",
    "👩\u200d💻",
    "葛\U000e0100",
    "❤\ufe0f",
    "e\u0301",
    "Ω≈ç√",
    "ｅ",
    "O'Brien; drop table x",
    '"\\/<&>%s{}$1',
    "x" * 200,
    "ß",
    "İ",
    "ﷺ",
    "한\u0301",
    "\U0001f3f4",
    "-1",
    "null",
    "𠜎" * 200,
)
_VISIBLE: Final = st.characters(categories=("L", "M", "N", "P", "S", "Zs"))
_ADDRESSES: Final = ("a@b.example", "é@müller.example", "x" * 64 + "@" + "y" * 60 + ".example", "用户@例え.テスト")


def _accepted(kind: Any, candidates: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Those candidates that the type takes, in the form that it gives them."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def taken(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError:
            return None

    return candidates.map(taken).filter(lambda value: value is not None)


def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.replace("$", r"\Z"), alphabet=st.characters(max_codepoint=127))


_IDS: Final = r"^[!-9;-~]{1,100}$"
_NAMES: Final = st.one_of(st.sampled_from(_WORDS), st.text(_VISIBLE, min_size=1, max_size=40))
_TEXTS: Final = st.one_of(
    _NAMES, st.just(""), st.just("x" * 2000), st.just("好\n\t" * 600), st.text(_VISIBLE, max_size=200)
)
_SEALED: Final = st.binary(min_size=28, max_size=60).map(lambda raw: "enc:1:" + raw.hex() + "AA")

BY_NAME: Final[dict[str, st.SearchStrategy[Any]]] = {
    "Name": _accepted(fields.Name, _NAMES),
    "OptionalName": _accepted(fields.OptionalName, st.one_of(st.just(""), _NAMES)),
    "Text": _accepted(fields.Text, _TEXTS),
    "Identifier": st.one_of(_matching(_IDS), st.just("~" * 100), st.uuids().map(str)),
    "OptionalIdentifier": st.one_of(st.just(""), _matching(_IDS)),
    "DerivedIdentifier": st.one_of(_matching(r"^[!-9;-~]{1,120}$"), st.just("!" * 120)),
    "ActorId": st.one_of(_matching(r"^[!-~]{1,100}$"), st.just("policy:weekly")),
    "Publisher": st.one_of(st.sampled_from(("autodesk", "A b", "x" * 100)), _matching(_IDS)),
    "OptionalPublisher": st.sampled_from(("", "autodesk", "A b", "x" * 100)),
    "ForeignIdentifier": st.one_of(_matching(r"^[!-~]([ -~]{0,198}[!-~])?$"), st.just(":" * 200)),
    "Code": st.one_of(_matching(r"^[!-~]([ -~]{0,98}[!-~])?$"), st.just("\\" * 100)),
    "OptionalCode": st.one_of(st.just(""), _matching(r"^[!-~]([ -~]{0,98}[!-~])?$")),
    "ProductId": _accepted(fields.ProductId, _matching(r"^[0-9A-Z]{5}-?(WW[0-9]{4}|[0-9]{6})-?[A-Z][0-9]{3}$")),
    "Sha256": _matching(r"^[0-9a-f]{64}$"),
    "Location": st.sampled_from(("https://a.example/b", "http://" + "~" * 1993)),
    "ClockTime": _matching(r"^([01][0-9]|2[0-3]):[0-5][0-9]$"),
    "Currency": _matching(r"^[A-Z]{3}$"),
    "Country": st.sampled_from(sorted(fields.countries())),
    "OptionalCountry": st.sampled_from(["", *sorted(fields.countries())]),
    "TimeZone": st.sampled_from(sorted(fields.time_zones())),
    "Locale": st.sampled_from(("en", "de-CH", "zh-Hant-TW", "es-419", "de-1996", "sl-rozaj-biske")),
    "Address": _accepted(fields.Address, st.one_of(st.emails(), st.sampled_from(_ADDRESSES))),
    "PersonalName": st.one_of(st.just(""), _SEALED, _accepted(fields.Name, _NAMES)),
    "PersonalText": st.one_of(st.just(""), _SEALED, _accepted(fields.Text, _TEXTS)),
    "PersonalAddress": st.one_of(st.just(""), _SEALED, _accepted(fields.Address, st.sampled_from(_ADDRESSES))),
    "PersonalSubject": st.one_of(st.just(""), _SEALED, _matching(r"^[ -~]{1,255}$")),
    "Issuer": st.sampled_from(("https://issuer.example", "~" * 500)),
    "Day": st.one_of(
        st.dates(date(1900, 1, 1), date(8999, 12, 31)), st.sampled_from((date(1900, 1, 1), date(8999, 12, 31)))
    ),
}
"""Of the types whose content a function checks, or whose pattern matters."""


def _metadata(kind: Any) -> str:
    """How a type looks in a model's field."""
    return _looks(create_model("Probe", x=(kind, ...)).model_fields["x"])


def _looks(field: FieldInfo) -> str:
    return repr([each for each in field.metadata if each is not PERSONAL])


_BY_METADATA: Final = {_metadata(getattr(fields, name)): found for name, found in BY_NAME.items()}


def instances(model: type[M]) -> st.SearchStrategy[M]:
    """Any instance of the model that validates."""
    if model is Money:
        amounts = st.one_of(st.integers(0, fields.AMOUNT_AT_MOST), st.sampled_from((0, fields.AMOUNT_AT_MOST)))
        return st.builds(model, amount=amounts, currency=BY_NAME["Currency"])
    parts = {
        name: _values(field.annotation, _looks(field), tuple(field.metadata))
        for name, field in model.model_fields.items()
    }
    return st.fixed_dictionaries(parts).map(lambda values: model(**values))


def _prices() -> st.SearchStrategy[Money]:
    amounts = st.one_of(st.integers(0, fields.PRICE_AT_MOST), st.just(fields.PRICE_AT_MOST))
    return st.builds(Money, amount=amounts, currency=BY_NAME["Currency"])


_PRICE: Final = _metadata(Price)


def _values(kind: Any, looks: str, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if looks == _PRICE:
        return _prices()
    if (known := _BY_METADATA.get(looks)) is not None:
        return known
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is Annotated:
        return _annotated(kind)
    if origin in (typing.Union, types.UnionType):
        one_of: list[st.SearchStrategy[Any]] = [
            st.none() if part is type(None) else _annotated(part) for part in arguments
        ]
        return st.one_of(one_of)
    if origin is tuple:
        return _accepted(
            Annotated[(kind, *metadata)] if metadata else kind,
            st.lists(_annotated(arguments[0]), min_size=_least(metadata), max_size=3).map(tuple),
        )
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return instances(kind)
    return _plain(kind, metadata)


def _annotated(kind: Any) -> st.SearchStrategy[Any]:
    field = create_model("Probe", x=(kind, ...)).model_fields["x"]
    return _values(field.annotation, _looks(field), tuple(field.metadata))


def _least(metadata: tuple[Any, ...]) -> int:
    return next((each.min_length for each in metadata if hasattr(each, "min_length")), 0)


def _plain(kind: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if kind is bool:
        return st.booleans()
    if kind is int:
        low = next(each.ge for each in metadata if hasattr(each, "ge"))
        high = next(each.le for each in metadata if hasattr(each, "le"))
        return st.one_of(st.integers(low, high), st.sampled_from((low, high)))
    if kind in (AwareDatetime, datetime):
        times = st.datetimes(datetime(1900, 1, 1), datetime(8999, 12, 31), timezones=st.just(UTC))
        last = datetime(8999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        return st.one_of(times, st.sampled_from((datetime(1900, 1, 1, tzinfo=UTC), last)))
    raise TypeError(f"a field of the bare type {kind} accepts what nobody has bounded")
