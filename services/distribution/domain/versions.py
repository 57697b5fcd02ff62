"""The order of an update's versions.

A version is compared by these, each where the ones before it are equal:

1. Its numeric parts, from the first digit on: 2027.10 is newer than 2027.9, 2027.1.0 is the same as 2027.1. A version
   without a digit is older than every version with one.
2. Its stage: a pre-release is older than the release. It is what follows the numbers after a hyphen, as in Semantic
   Versioning, or a word such as beta. Numbers in it are compared as numbers, and are older than words: rc.2, rc.10.
3. The publisher's order: the time of publication, then the update's id. It decides about whatever the first two cannot
   compare, such as two service packs or two names.

So the order is total and strict among the updates of a publisher.
Source: https://semver.org, section 11, for pre-releases.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_VERSION: Final = re.compile(
    r"[^0-9]*(?P<numbers>[0-9]+(?:\.[0-9]+)*)"
    r"(?P<stage>-[0-9a-z].*|[ ._-]?(?:alpha|beta|rc|preview|pre|dev)(?![a-z]).*)?",
    re.IGNORECASE,
)
_END: Final = "!"
"""The end of a list or a word. It is less than every digit and letter."""


@lru_cache(maxsize=10_000)
def precedence(version: str, published_at: datetime, update_id: str) -> str:
    """Return a key that sorts a publisher's updates from the oldest version to the newest.

    Keys are compared as ASCII, so PostgreSQL orders them in the collation "C" as Python does.
    """
    found = _VERSION.match(version)
    numbers = found["numbers"].split(".") if found else []
    while numbers and not numbers[-1].strip("0"):
        numbers.pop()
    stage = (found["stage"] or "").partition("+")[0] if found else ""
    words = re.findall(r"[0-9]+|[a-z]+", stage.lower())
    return "".join(
        (
            *map(_number, numbers),
            _END,
            "0" + "".join(map(_word, words)) + _END if words else "1",
            f"{published_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}",
            update_id,
        )
    )


def _number(digits: str) -> str:
    """Return the number so that texts are ordered as numbers are: by length first."""
    significant = digits.lstrip("0") or "0"
    return f"{len(significant):03}{significant}"


def _word(word: str) -> str:
    return f"0{_number(word)}" if word.isdigit() else f"1{word}{_END}"
