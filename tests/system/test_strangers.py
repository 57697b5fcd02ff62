"""Every operation of every service's document, asked by a stranger for what exists and for what does not.

A stranger is of another customer, another partner or another publisher. What is refused is refused alike for both, so
nothing is told. The operations are read from the OpenAPI documents of the running system: a new route is in here by
itself, and a parameter with a new name has to be added to the scene's `ids`.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import pytest

from tests.system.people import Someone
from tests.system.scene import Operation, Scene, asked, fields, operations

EVERYBODYS: Final = {"partner", "product_id", "publisher"}
"""Parameters that name what everybody may see."""
OF_THEIR_OWN: Final = (("distribution", "POST", "/publisher/updates"),)
"""Operations whose form names something of the caller's own: a publisher's ids say nothing of another's."""
ACCOUNTS: Final = ("account_id", "to_account_id", "to", "purchaser", "acts_for")
"""What forms call an account."""
VARIANTS: Final[Mapping[str, Callable[[str], str]]] = {
    "in capitals": str.upper,
    "with a dot": "{}.".format,
    "with a space": "{}%20".format,
    "with a zero": "{}%00".format,
    "below a folder": "x%2F..%2F{}".format,
    "as a stream": "contract-{}".format,
    "twice encoded": lambda id_: f"%25{ord(id_[0]):x}{id_[1:]}",
}
"""How an id may be written otherwise."""


def naming(scene: Scene) -> Iterator[tuple[Operation, frozenset[str]]]:
    """Those that name something of somebody's, and what their bodies name of it."""
    for operation in operations(scene.documents):
        named = fields(operation, scene.documents[operation[0]]) & set(scene.ids)
        if operation[:3] not in OF_THEIR_OWN and (named | set(re.findall(r"{(\w+)}", operation[2]))) - EVERYBODYS:
            yield operation, named - EVERYBODYS


def told_apart(scene: Scene, who: Someone, real: Mapping[str, str], none: Mapping[str, str]) -> tuple[list[str], int]:
    """What is answered otherwise for what is real than for what is not, or is not refused; and how many were asked."""
    wrong, asks = [], 0
    for (name, method, path, described), named in naming(scene):
        first, second = (
            asked(
                who,
                (name, method, path, described),
                ids,
                scene.documents[name],
                named={field: unquote(ids[field]) for field in named},
            )
            for ids in (real, none)
        )
        asks += 1
        if first != second or not 400 <= first[0] < 500:
            wrong.append(f"{name} {method} {path}: {first} for what exists, {second} for what does not")
        if first[0] == 422 and real is scene.ids:
            wrong.append(f"{name} {method} {path}: refused for its form only, which shows nothing: {first}")
    return wrong, asks


@pytest.mark.parametrize("what", ["another customer's", "another partner's", "another publisher's"])
def test_a_stranger_is_refused_alike_for_what_exists_and_for_what_does_not(scene: Scene, what: str) -> None:
    wrong, asks = told_apart(scene, scene.strangers[what], scene.ids, scene.invented())
    assert not wrong, "\n".join(wrong)
    assert asks > 50


@pytest.mark.parametrize("variant", VARIANTS)
def test_nor_by_another_way_to_write_an_id(scene: Scene, variant: str) -> None:
    write = VARIANTS[variant]
    real, none = (
        {name: id_ if name in ("line", *EVERYBODYS) else write(id_) for name, id_ in ids.items()}
        for ids in (scene.ids, scene.invented())
    )
    wrong, _ = told_apart(scene, scene.strangers["another customer's"], real, none)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("what", ["manager", "seat coordinator", "clerk", "publisher"])
def test_nobody_is_told_whether_somebody_elses_account_exists(scene: Scene, what: str) -> None:
    wrong = []
    stranger, nobody = scene.strangers["another customer's"].session["account_id"], str(uuid.uuid4())
    for operation in operations(scene.documents):
        name, method, path, _ = operation
        named = fields(operation, scene.documents[name]) & set(ACCOUNTS)
        if not named and "{account_id}" not in path:
            continue
        real, none = (
            asked(
                scene.people[what],
                operation,
                {**scene.ids, "account_id": account},
                scene.documents[name],
                named=dict.fromkeys(named, account),
            )
            for account in (stranger, nobody)
        )
        if real != none:
            wrong.append(f"{name} {method} {path}: {real} for a stranger's account, {none} for none")
    assert not wrong, "\n".join(wrong)
