"""Amounts of money as people of a locale write them."""

from decimal import Decimal

from babel import Locale
from babel.numbers import parse_pattern

from shared.money import digits_of


def localised(amount: int, currency: str, locale: Locale) -> str:
    """Return an amount in minor units as people of the locale write it.

    The digits are the currency's own (ISO 4217). Unicode's data, which is about cash, has none for HUF or COP.
    """
    digits = digits_of(currency)
    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    pattern.frac_prec = (digits, digits)
    text: str = pattern.apply(Decimal(amount).scaleb(-digits), locale, currency=currency, currency_digits=False)
    return text
