"""The refusal of common passwords.

The lists of common passwords, names and words, and the estimate of the number of guesses, are zxcvbn's.

Source: D. L. Wheeler, zxcvbn: Low-Budget Password Strength Estimation, USENIX Security 2016.
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
"""The guesses that a password has to withstand: more than the limits of a sign-in allow in a thousand years."""
_ESTIMATED_LENGTH: Final = 72
"""The characters that are estimated, because the time grows with their square. More make no password weaker."""
_WORDS: Final = re.compile(r"[^\W\d_]+|\d+")


async def require_uncommon(password: str, *about: str) -> None:
    """Raise Problem 422 `password-common` for a password that takes too few guesses.

    `about` are the person's name, address and organisation, which are guessed first.
    """
    if await HASHING.run(guesses, password, about) < GUESSES_AT_LEAST:
        raise Problem(
            rule=rules.PASSWORD_COMMON,
            reason="This password is among the first that anybody would guess: it is a common one, or made of common "
            "words, of a pattern, or of your own name, address or organisation.",
            remedy="Choose another, for instance four words that have nothing to do with one another.",
        )


def guesses(password: str, about: Sequence[str]) -> float:
    """Estimate how many guesses the password takes if the likeliest are tried first."""
    from zxcvbn import matching, scoring  # reading its lists takes 50 ms: not at the start of the process

    lists = {**matching.RANKED_DICTIONARIES, "user_inputs": matching.build_ranked_dict(_known(about))}
    estimated = unicodedata.normalize("NFKC", password)[:_ESTIMATED_LENGTH]
    sequence = scoring.most_guessable_match_sequence(estimated, matching.omnimatch(estimated, lists))
    return float(sequence["guesses"])


def _known(about: Sequence[str]) -> list[str]:
    """Return the words of these texts, alone and written together."""
    known: dict[str, None] = {}
    for text in about:
        words = _WORDS.findall(text.casefold())
        known |= dict.fromkeys([text.casefold(), "".join(words), *words, *map("".join, pairwise(words))])
    return [word for word in known if len(word) > 2]
