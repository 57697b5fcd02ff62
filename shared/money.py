"""Amounts of money in sentences. Everywhere else they are integers in minor units."""

from collections.abc import Mapping
from typing import Final

_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_NONE.split(), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def digits_of(currency: str) -> int:
    """Return how many digits the currency's minor unit has, such as 2 for EUR.

    Source: ISO 4217.
    """
    return _DIGITS.get(currency, 2)


def written(amount: int, currency: str) -> str:
    """Return an amount in minor units as a sentence in English has it, such as "8,208.03 EUR"."""
    digits = digits_of(currency)
    whole, rest = divmod(abs(amount), 10**digits)
    fraction = f".{rest:0{digits}}" if digits else ""
    return f"{'-' if amount < 0 else ''}{whole:,}{fraction} {currency}"
