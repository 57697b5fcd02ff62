"""Secrets of machines and webhooks: shown once, and replaced by new ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from services.console.deeds import Deed, once_confirmed
from services.console.doors import Condition, path
from services.console.visits import Page, Visit

Made = TypeVar("Made", bound=BaseModel)
OVERLAPS: Final = ("0", "1", "7")
"""For how many days the secret before a new one is still good, as the form offers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWords:
    """What the page with a secret says. All texts are translated already."""

    heading: str
    keep: str
    """That it is shown once, and where it belongs."""
    lost: str
    """What to do where it was shown already."""
    back: tuple[str, str]
    """The path and the name of the page to go on to."""


def overlap(visit: Visit) -> int:
    """Return for how many days the secret before is still good, as the form says."""
    return int(visit.form["overlap"]) if visit.form["overlap"] in OVERLAPS else 1


def rotation(visit: Visit, at: str, *, question: str, before: str, moves: bool = False) -> Deed:
    """Return the deed that gives a machine or a webhook a new secret.

    Args:
        at: The path of the machine or webhook, at identity and here.
        before: What becomes of the secret before it.
        moves: As of a Deed.
    """
    texts = visit.texts
    return Deed(
        service="identity",
        method="POST",
        path=path(f"{at}/secret"),
        body={"overlap_days": overlap(visit)},
        question=question,
        button=texts.gettext("Make a new secret"),
        says=lambda _: [texts.gettext("The new secret is shown once: prepare the place where you keep it."), before],
        moves=moves,
        then=at,
        notice="saved",
    )


async def show_once(
    visit: Visit,
    deed: Deed,
    show: Page,
    made: type[Made],
    rows: Callable[[Made], Mapping[str, str]],
    words: SecretWords,
) -> Response:
    """Ask for confirmation, or carry a confirmed deed out and show the secret, this once.

    Args:
        made: The shape of the answer.
        rows: Returns the secret and what goes with it, by their names; none where it was shown already.
    """

    async def do(condition: Condition) -> Response:
        answer = await visit.ask(deed.service, deed.method, deed.path, made, deed.sent, condition=condition)
        return visit.page("secret.html", rows=rows(answer), words=words)

    return await once_confirmed(visit, deed, show, do)
