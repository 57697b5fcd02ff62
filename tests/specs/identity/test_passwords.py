"""A password that anybody guesses early is refused; one that takes long to guess is not."""

import pytest

from services.identity.signin.passwords import GUESSES_AT_LEAST, guesses

ABOUT = ("mina.okafor@northhaus.example", "Mina Okafor", "Northhaus AG")


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "PASSWORD1234",
        "P@ssw0rd1234",
        "passwordpassword",
        "1234567890123",
        "qwertyuiop[]",
        "aaaaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "letmeinletmein",
        "iloveyou2024",
        "trustno1trustno1",
        "a" * 256,
        "password" * 32,
        "ｐａｓｓｗｏｒｄ１２３４",
        "minaokafor12",
        "MinaOkafor2026",
        "mina.okafor@northhaus.example",
        "northhaus2026!",
        "okafornorthhaus",
    ],
)
def test_a_common_password_is_guessed_early(password: str) -> None:
    assert guesses(password, ABOUT) < GUESSES_AT_LEAST


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "another long password",
        "somebody else's guess",
        "kV8#qTz!m2Lx",
        "рыба на велосипеде",
        "魚が自転車に乗って海へ行く日",
        "x" + "kV8#qTz!m2Lx" * 20,
    ],
)
def test_a_password_that_takes_long_to_guess_is_good(password: str) -> None:
    assert guesses(password, ABOUT) >= GUESSES_AT_LEAST


def test_what_is_known_of_one_person_is_not_held_against_another() -> None:
    assert guesses("rumpelstilzchen7", ("Rumpelstilzchen",)) < GUESSES_AT_LEAST <= guesses("rumpelstilzchen7", ABOUT)
