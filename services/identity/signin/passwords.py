"""Which passwords are refused because they are among the first that anybody guesses.

The lists of common passwords, names and words, and the estimate of how many guesses a password takes that is made of
them, are zxcvbn's. Source: D. L. Wheeler, zxcvbn: Low-Budget Password Strength Estimation, USENIX Security 2016.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from services.identity.domain import rules
from services.identity.signin.credentials import HASHING
from shared.runtime.problems import Problem

GUESSES_AT_LEAST: Final = 10**8
"""What a password has to withstand: more guesses than the limits of a sign-in let through in a thousand years."""
_LOOKED_AT: Final = 72
"""The characters that the estimate takes: its time grows with the square of them. More make no password weaker."""
_WORDS: Final = re.compile(r"[^\W\d_]+|\d+")


async def require_uncommon(password: str, *about: str) -> None:
    """Raises Problem 422 `password-common` for a password that is guessed early.

    `about` is what is known of the person: a name, an address, an organisation. It is guessed first.
    """
    if await HASHING.run(guesses, password, about) < GUESSES_AT_LEAST:
        raise Problem(
            422,
            rule=rules.PASSWORD_COMMON,
            reason="This password is among the first that anybody would guess: it is a common one, or made of common "
            "words, of a pattern, or of your own name, address or organisation.",
            remedy="Choose another, for instance four words that have nothing to do with one another.",
        )


def guesses(password: str, about: Sequence[str]) -> float:
    """How many guesses the password takes, for somebody who tries the likeliest first."""
    from zxcvbn import matching, scoring  # reads its lists, which takes 50 ms: not at a process's start

    lists = {**matching.RANKED_DICTIONARIES, "user_inputs": matching.build_ranked_dict(_known(about))}
    looked_at = unicodedata.normalize("NFKC", password)[:_LOOKED_AT]
    found = scoring.most_guessable_match_sequence(looked_at, matching.omnimatch(looked_at, lists))
    return float(found["guesses"])


def _known(about: Sequence[str]) -> list[str]:
    """The words of what is known of a person, alone and written together."""
    known: dict[str, None] = {}
    for text in about:
        words = _WORDS.findall(text.casefold())
        known |= dict.fromkeys([text.casefold(), "".join(words), *words, *map("".join, pairwise(words))])
    return [word for word in known if len(word) > 2]
