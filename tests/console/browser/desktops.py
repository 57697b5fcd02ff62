"""A customer of the story whose users' desktops report what they install, on a system that runs.

It is made by the story's own steps: the order, the seats and the update come about as for anybody.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from deploy.story import later, steps
from deploy.story.doors import Doors, Json, Person, eventually, open_doors
from deploy.story.steps import Story, cast

T = TypeVar("T")

STEPS: Final[tuple[Callable[[Story], Awaitable[None]], ...]] = (
    steps.accounts,
    steps.standing,
    steps.ordering,
    steps.confirmation,
    steps.roles,
    steps.seats,
    later.more_seats,
    steps.update,
)


@dataclass(frozen=True)
class Desktops:
    """The customer's contract, its administrator and its users, and the update that waits for a decision."""

    contract: str
    update_id: str
    administrator: Person
    users: list[Person]

    def report(self, user: Person, *, succeeded: bool, machine: str = "desk") -> None:
        """Let a user's machine report what became of the installation, once it is offered."""
        asyncio.run(self._report(user, succeeded, machine))

    async def _report(self, user: Person, succeeded: bool, machine: str) -> None:
        async with open_doors(f"desktops-{secrets.token_hex(4)}") as doors:

            async def offered() -> Json | None:
                shown = await doors.ok("distribution", "GET", "/me/updates", user)
                return next((each for each in shown["items"] if each["update_id"] == self.update_id), None)

            offer = await eventually(offered, f"{user.name} is offered {self.update_id}")
            body = {"rollout_id": offer["rollout_id"], "version": offer["version"], "machine": machine}
            error = {} if succeeded else {"error": "The disk is full."}
            await doors.ok("distribution", "POST", "/me/installs", user, {**body, "succeeded": succeeded, **error})


async def _made() -> Desktops:
    async with open_doors(f"story-{secrets.token_hex(4)}") as doors:
        return await _told(doors)


async def _told(doors: Doors) -> Desktops:
    story = cast(doors, lambda _: None)
    for step in STEPS:
        await step(story)
    return Desktops(story.contract, story.update_id, story.cad, [*story.designers, story.cad])


def desktops() -> Desktops:
    """Make the customer."""
    return asyncio.run(_made())
