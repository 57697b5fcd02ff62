"""The types of fields in events, HTTP forms and parameters.

They are the one definition of what may enter. Each type is strict (nothing is coerced), bounded and canonical. Every
value that a type accepts can be stored in tables, indexes and headers.

Text is in NFC. Controls, lone surrogates, unassigned and private code points, and invisible characters are refused;
every kind of space becomes U+0020. Two kinds of invisible characters are allowed: zero-width joiners where a script
needs them (RFC 5892, appendix A) or between emoji, and variation selectors after a character that they vary.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import idna
import pycountry
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    Strict,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

V = TypeVar("V")

CONTENT_CHECKS: Final[set[object]] = set()
"""The functions that restrict a field's content. They are left out for events from before the restriction."""


def _checked(check: Callable[[V], V]) -> AfterValidator:
    CONTENT_CHECKS.add(check)
    return AfterValidator(check)


def _refusal(kind: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(kind, message)


# ── Text for people ────────────────────────────────────────────────────────────────────────────────────

NAME_AT_MOST: Final = 200
TEXT_AT_MOST: Final = 2000
_REFUSED: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U0001d159")
"""Letters, marks and symbols that are invisible."""
_JOINERS: Final = frozenset("\u200c\u200d")
_VARIATIONS: Final = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_VARIED: Final = re.compile(
    rf"[{_IDEOGRAPHS}][\ufe00-\ufe0d\U000e0100-\U000e01ef]"
    "|[\u1800-\u18af][\u180b-\u180d\u180f]"
    "|[0-9#*][\ufe0e\ufe0f]\u20e3|[\u203c\u2049\u2139\u3030][\ufe0e\ufe0f]"
    "|[0\u1000-\u109f\u2018-\u201d\u3001\u3002\ua840-\ua877\uaa60-\uaa7f"
    "\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\U00010ac0-\U00010aff\U00013000-\U0001345f][\ufe00-\ufe0d]"
)
"""Characters with a selector that varies them. Source: Unicode's StandardizedVariants.txt,
emoji-variation-sequences.txt and Ideographic Variation Database."""
_OTHER_SPACES: Final = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_NEW_LINES: Final = re.compile("\r\n?")


def _is_allowed(text: str, at: int, allowed: str) -> bool:
    """Return whether the character is allowed there. Those of `allowed` are, wherever they are."""
    character = text[at]
    if character in _JOINERS:
        return _joins(text, at)
    if _VARIATIONS.match(character):
        return at > 0 and _varies(text, at)
    return character in allowed or not (character in _BLANK or unicodedata.category(character) in _REFUSED)


def _varies(text: str, at: int) -> bool:
    """Return whether the variation selector there varies the character before it."""
    symbol = unicodedata.category(text[at - 1]) in ("So", "Sm") and "\ufe00" <= text[at] <= "\ufe0f"
    return symbol or _VARIED.match(text, at - 1) is not None


def _joins(text: str, at: int) -> bool:
    """Return whether the zero-width joiner or non-joiner there changes how its neighbours look."""
    try:
        if idna.core.valid_contextj(text, at):
            return True
    except ValueError:  # a neighbour that IDNA does not know
        return False
    if text[at] == "\u200c" or not 0 < at < len(text) - 1:
        return False
    before = text[at - 2] if at > 1 and _VARIATIONS.match(text[at - 1]) else text[at - 1]
    return unicodedata.category(before) in ("So", "Sk") and unicodedata.category(text[at + 1]) == "So"


def _composed(text: str, allowed: str = "") -> str:
    """Return the text in NFC, with one kind of space. Raise an error for a refused character."""
    if not text.isascii():
        text = _OTHER_SPACES.sub(" ", unicodedata.normalize("NFC", text))
    for at, character in enumerate(text):
        if not (" " <= character <= "~") and not _is_allowed(text, at, allowed):
            raise _refusal(
                "character", f"The character U+{ord(character):04X} is not allowed: it is invisible or a control."
            )
    return text


def _name(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        value = _composed(value)
    value = value.strip(" ")
    if not value or len(value) > NAME_AT_MOST:
        raise _refusal("name", f"A name has 1 to {NAME_AT_MOST} characters.")
    if unicodedata.combining(value[0]) or unicodedata.category(value[0])[0] == "M":
        raise _refusal("name", "A name can't begin with a combining mark.")
    return value


def _text(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        value = _composed(_NEW_LINES.sub("\n", value), "\n\t")
    value = value.strip(" \n\t")
    if len(value) > TEXT_AT_MOST:
        raise _refusal("text", f"A text has at most {TEXT_AT_MOST} characters.")
    return value


def _phrase(value: str) -> str:
    return _name(value) if value.strip(" ") else ""


Name: TypeAlias = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=NAME_AT_MOST), _checked(_name)]
"""One line of text without spaces around it: 1 to 200 characters, so at most 800 bytes in an index."""

OptionalName: TypeAlias = Annotated[str, Strict(), StringConstraints(max_length=NAME_AT_MOST), _checked(_phrase)]
"""A name, or "" for none."""

Text: TypeAlias = Annotated[str, Strict(), StringConstraints(max_length=TEXT_AT_MOST), _checked(_text)]
"""Text such as a reason, a message or an error. It may have several lines and tabs, and may be empty."""


# ── Ids and codes ──────────────────────────────────────────────────────────────────────────────────────

ID_AT_MOST: Final = 100

Identifier: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=rf"^[!-9;-~]{{1,{ID_AT_MOST}}}$", max_length=ID_AT_MOST)
]
"""An id that can be part of stream ids, timers' names and headers: printable ASCII without spaces and colons. A stream
id of a category and up to three of them has at most 500 characters."""

OptionalIdentifier: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=rf"^[!-9;-~]{{0,{ID_AT_MOST}}}$", max_length=ID_AT_MOST)
]
"""An id, or "" for none."""

DerivedIdentifier: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[!-9;-~]{1,120}$", max_length=120)]
"""An id that is derived from another id and a number."""

ActorId: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$", max_length=ID_AT_MOST)
]
"""The actor of an event: an account's id, a publisher, or an automatic actor (`policy:thresholds`, `policy:weekly`)."""

Publisher: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[!-9;-~]([ -9;-~]{0,98}[!-9;-~])?$", max_length=ID_AT_MOST)
]
"""A publisher's name in contracts, sources and stream ids: an identifier that may have inner spaces."""

OptionalPublisher: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^([!-9;-~]([ -9;-~]{0,98}[!-9;-~])?)?$", max_length=ID_AT_MOST)
]
"""A publisher, or "" for none or for any."""

ForeignIdentifier: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[!-~]([ -~]{0,198}[!-~])?$", max_length=200)
]
"""An id of another system: 1 to 200 printable ASCII characters. It is never part of a stream id."""

Code: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$", max_length=100)]
"""A technical name of a product, programme, version or platform: 1 to 100 printable ASCII characters, without spaces
around it."""

OptionalCode: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^([!-~]([ -~]{0,98}[!-~])?)?$", max_length=100)
]
"""A code, or "" for none."""

_PRODUCT_ID: Final = re.compile(r"([0-9A-Z]{5})-?(WW[0-9]{4}|[0-9]{6})-?([A-Z][0-9]{3})", re.ASCII | re.IGNORECASE)


def product_id(text: str) -> str | None:
    """Return a product ID's 15 characters, from either case, with or without hyphens, or None."""
    match = _PRODUCT_ID.fullmatch(text.strip())
    return "".join(match.groups()).upper() if match else None


def _product_id(value: str) -> str:
    stored = product_id(value)
    if stored is None:
        raise _refusal("product_id", "A product ID has 15 characters and reads 5-6-4, such as C1RK1-WW1762-L158.")
    return stored


ProductId: TypeAlias = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^[!-~]{15,17}$", max_length=17),
    _checked(_product_id),
    Field(json_schema_extra={"pattern": r"^[0-9A-Za-z]{5}-?([Ww][Ww][0-9]{4}|[0-9]{6})-?[A-Za-z][0-9]{3}$"}),
]
"""The 15 characters of a service plan's product ID. Hyphens (5-6-4) and lower case are accepted and normalised."""

Sha256: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Location: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^https?://[!-~]+$", max_length=2000)]
"""The URL of an artefact."""
ClockTime: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", max_length=5)
]
"""A local time of day, `22:00`."""
Currency: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[A-Z]{3}$", max_length=3)]


# ── Places and languages ───────────────────────────────────────────────────────────────────────────────


@cache
def countries() -> frozenset[str]:
    """Return the codes of ISO 3166-1 alpha-2, from the pycountry package."""
    return frozenset(country.alpha_2 for country in pycountry.countries)


@cache
def time_zones() -> frozenset[str]:
    """Return IANA's time zones from the locked tzdata package, except the placeholder `Factory`."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}


@cache
def _languages() -> frozenset[str]:
    shortest = {getattr(language, "alpha_2", language.alpha_3) for language in pycountry.languages}
    return frozenset(shortest | {language.alpha_3 for language in pycountry.languages})


def _country(value: str) -> str:
    code = value.upper()
    if code not in countries():
        raise _refusal("country", "This is not a country of ISO 3166-1: use two letters, such as DE.")
    return code


def _optional_country(value: str) -> str:
    return _country(value) if value else ""


def _time_zone(value: str) -> str:
    if value not in time_zones():
        raise _refusal("time_zone", "This is not a time zone: use an IANA name, such as Europe/Berlin.")
    return value


_LOCALE: Final = re.compile(
    r"(?P<language>[A-Za-z]{2,3})(-(?P<script>[A-Za-z]{4}))?(-(?P<region>[A-Za-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(-([0-9A-Za-z]{5,8}|[0-9][0-9A-Za-z]{3}))*)"
)


def _locale(value: str) -> str:
    """Return the language tag in the letter case of RFC 5646: `de`, `en-GB`, `zh-Hant-TW`."""
    match = _LOCALE.fullmatch(value)
    region = (match["region"] or "").upper() if match else ""
    if (
        match is None
        or match["language"].lower() not in _languages()
        or (region.isalpha() and region not in countries())
    ):
        raise _refusal("locale", "This is not a locale: use a language tag, such as en-GB.")
    parts = (match["language"].lower(), (match["script"] or "").title(), region, match["variants"].strip("-").lower())
    return "-".join(part for part in parts if part)


Country: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[A-Za-z]{2}$", max_length=2), _checked(_country)
]
"""A country code of ISO 3166-1 alpha-2. Lower case is accepted and becomes upper case."""
OptionalCountry: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^([A-Za-z]{2})?$", max_length=2), _checked(_optional_country)
]
"""A country, or "" for none."""
TimeZone: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[!-~]{1,64}$", max_length=64), _checked(_time_zone)
]
OptionalTimeZone: TypeAlias = TimeZone | None
"""A time zone; None in an event from before the zone of its business dates was named."""
Locale: TypeAlias = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[!-~]{2,35}$", max_length=35), _checked(_locale)
]
"""A BCP 47 language tag: language, script, region and variants, without extensions."""


# ── E-mail addresses ───────────────────────────────────────────────────────────────────────────────────

_LOCAL: Final = re.compile(r"(?!.*=\?)[^@\s\"(),:;<>\[\]\\]{1,64}")
"""The part before the @, without `=?`: mail software would read that as an encoded word (RFC 2047), which can contain
anything, even the end of the header."""
_NO_ADDRESS: Final = "This is not an e-mail address: write it as name@example.org."
ADDRESS_AT_MOST: Final = 254


def canonical_address(text: str) -> str:
    """Return an address in NFKC and lower case, trimmed, with the domain in ASCII (IDNA 2008).

    Raises:
        ValueError: if the text is not an address, or has a character that an address may not have.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).strip(" ").lower())
    if any(c in _BLANK or _VARIATIONS.match(c) or unicodedata.category(c) in _REFUSED for c in text):
        raise ValueError("an e-mail address can't have control or invisible characters")
    local, at, domain = text.partition("@")
    if not at or not _LOCAL.fullmatch(local):
        raise ValueError(_NO_ADDRESS)
    try:
        ascii_domain = idna.encode(domain, uts46=True, std3_rules=True).decode()
    except (UnicodeError, ValueError, IndexError):
        raise ValueError(_NO_ADDRESS) from None
    address = f"{local}@{ascii_domain}"
    if "." not in ascii_domain.strip(".") or ascii_domain.endswith(".") or len(address) > ADDRESS_AT_MOST:
        raise ValueError(_NO_ADDRESS)
    return address


def readable_address(address: str) -> str:
    """Return a canonical address with its domain in Unicode, as people read it."""
    local, _, domain = address.rpartition("@")
    try:  # Most domains need no decoding, which is slow.
        return f"{local}@{idna.decode(domain)}" if "xn--" in domain else address
    except UnicodeError:
        return address


def _address(value: str) -> str:
    try:
        return canonical_address(value)
    except ValueError:
        raise _refusal("address", _NO_ADDRESS) from None


Address: TypeAlias = Annotated[str, Strict(), StringConstraints(min_length=3, max_length=320), _checked(_address)]
"""An e-mail address in its canonical form."""


# ── Personal fields ────────────────────────────────────────────────────────────────────────────────────

_SEALED: Final = re.compile(r"enc:1:[A-Za-z0-9+/]{38,11000}={0,2}")


def _subject(value: str) -> str:
    """Check an issuer's name for a person. Source: OpenID Connect Core, section 2."""
    if not (1 <= len(value) <= 255 and value.isascii() and value.isprintable()):
        raise _refusal("subject", "A subject has 1 to 255 printable ASCII characters.")
    return value


def _sealed_or(check: Callable[[str], str]) -> AfterValidator:
    """Return a validator that accepts a sealed or erased value, and checks any other."""

    def checked(value: str) -> str:
        return value if not value or _SEALED.fullmatch(value) else check(value)

    return _checked(checked)


Issuer: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[!-~]{1,500}$", max_length=500)]
"""The URL that names an issuer of identities."""

_Stored: TypeAlias = Annotated[str, Strict(), StringConstraints(max_length=11_100)]
PersonalAddress: TypeAlias = Annotated[_Stored, _sealed_or(_address)]
PersonalName: TypeAlias = Annotated[_Stored, _sealed_or(_name)]
PersonalSubject: TypeAlias = Annotated[_Stored, _sealed_or(_subject)]
PersonalText: TypeAlias = Annotated[_Stored, _sealed_or(_text)]
"""Fields about a person, marked `PERSONAL`: in plain text, sealed under its key (`enc:1:…`), or "" if erased."""


# ── Secrets ────────────────────────────────────────────────────────────────────────────────────────────


def _password(value: SecretStr) -> SecretStr:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in value.get_secret_value()):
        raise _refusal("password", "A password can't have control characters.")
    return value


Token: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^[!-~]{1,16384}$", max_length=16_384)]
"""A signed token that a caller sends."""

Password: TypeAlias = Annotated[SecretStr, Field(min_length=12, max_length=256), _checked(_password)]
"""A new password. It has no control characters and no lone surrogates."""
GivenPassword: TypeAlias = Annotated[SecretStr, Field(max_length=256), _checked(_password)]
"""A password to compare with the one that was set."""


# ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────

COUNT_AT_MOST: Final = 1_000_000_000
SEATS_AT_MOST: Final = 999
PRICE_AT_MOST: Final = 10**12
AMOUNT_AT_MOST: Final = 10**17
"""More than a cart of 50 lines of 999 seats at the highest price. An int8 can hold 92 times as much."""
AHEAD_AT_MOST: Final = 200_000_000

Count: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=COUNT_AT_MOST)]
"""A number of things, or the number of one of them. It fits an int4."""
Number: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=COUNT_AT_MOST)]
"""A count from 1."""
Seats: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=SEATS_AT_MOST)]
"""The number of a subscription's seats. A publisher's policy may allow fewer, never more."""
CreditAmount: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=COUNT_AT_MOST)]
Months: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=120)]
Days: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=3660)]
Percent: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=100)]
Minutes: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=24 * 60)]
"""A number of minutes, at most a day."""
SecondsAhead: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=AHEAD_AT_MOST)]
"""The seconds that a clock is ahead of real time, up to six years."""
Amount: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=AMOUNT_AT_MOST)]
"""An amount of money in minor units."""
LogPosition: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=2**53 - 1)]
"""The position of an event in its service's log, as subscribers count: 0 is before the first one."""
Bytes: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=2**53 - 1)]
"""A size in bytes, within the integers that JSON readers hold exactly."""

# ── Time ───────────────────────────────────────────────────────────────────────────────────────────────

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _instant_form(value: object, info: ValidationInfo) -> object:
    right_form = isinstance(value, str) and _DAY.match(value) if info.mode == "json" else isinstance(value, datetime)
    if not right_form:
        raise _refusal("instant", "This is not a point in time: write it as 2026-01-31T12:00:00Z.")
    return value


def _day_form(value: object, info: ValidationInfo) -> object:
    right_form = isinstance(value, str) and _DAY.fullmatch(value) if info.mode == "json" else type(value) is date
    if not right_form:
        raise _refusal("day", "This is not a date: write it as 2026-01-31.")
    return value


def _form(check: Callable[[Any, ValidationInfo], object]) -> BeforeValidator:
    """Return a validator that checks a value's form before it is parsed.

    It is used in place of `Strict`, which reads digits as a number of seconds.
    """
    CONTENT_CHECKS.add(check)
    return BeforeValidator(check)


EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
Instant: TypeAlias = Annotated[
    AwareDatetime, Strict(False), Field(ge=EARLIEST, lt=datetime(9000, 1, 1, tzinfo=UTC)), _form(_instant_form)
]
"""A point in time. Refused are times without a zone, numbers of seconds (also as text), and times near the calendar's
ends, where arithmetic would fail."""

Day: TypeAlias = Annotated[date, Strict(False), Field(ge=date(1900, 1, 1), lt=date(9000, 1, 1)), _form(_day_form)]
"""A date in the form `2026-01-31`, bounded so that terms, reminders and deadlines counted from it are valid dates."""


# ── Sequences ──────────────────────────────────────────────────────────────────────────────────────────


def distinct(key: Callable[[Any], object], what: str) -> AfterValidator:
    """Return a validator that refuses a repeated key: a table has one row for each."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({key(value) for value in values}) < len(values):
            raise _refusal("distinct", f"Each {what} may occur only once.")
        return values

    return _checked(check)
