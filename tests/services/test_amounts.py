"""Amounts of money in sentences and in a locale: the digits are the currency's own."""

import pytest
from babel import Locale

from shared.money import written
from shared.runtime.amounts import localised


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (820803, "EUR", "8,208.03 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-150, "USD", "-1.50 USD"),
        (1500, "JPY", "1,500 JPY"),
        (1500, "KWD", "1.500 KWD"),
        (150000, "HUF", "1,500.00 HUF"),
    ],
)
def test_a_sentence_has_the_amount_in_major_units(amount: int, currency: str, text: str) -> None:
    assert written(amount, currency) == text


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "text"),
    [
        (820803, "EUR", "de", "8.208,03 €"),
        (820803, "EUR", "en_GB", "€8,208.03"),
        (-150, "EUR", "de", "-1,50 €"),
        (1500, "JPY", "en_GB", "JP¥1,500"),
        (1500, "KWD", "de", "1,500 KWD"),
        (150000, "HUF", "de", "1.500,00 HUF"),  # whose fillér are in prices, though no coin has them
    ],
)
def test_a_person_reads_it_as_the_locale_writes_it(amount: int, currency: str, locale: str, text: str) -> None:
    assert localised(amount, currency, Locale.parse(locale)).replace("\N{NO-BREAK SPACE}", " ") == text
