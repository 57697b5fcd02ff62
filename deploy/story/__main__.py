"""Entry point of the story: `python -m deploy.story`.

The exit code is 1 at the first wrong response.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from deploy.story import found, later, pages, steps
from deploy.story.doors import TOPICS, Seen, Wrong, open_doors
from deploy.story.steps import PUBLISHER, Story, cast, settle

STEPS: Final[tuple[Callable[[Story], Awaitable[None]], ...]] = (
    steps.accounts,
    steps.standing,
    steps.ordering,
    steps.confirmation,
    steps.roles,
    steps.seats,
    later.more_seats,
    found.moved_seat,
    found.looked_up,
    pages.through_the_pages,
    later.credits,
    steps.update,
    later.rollout,
    later.lost_standing,
    later.maintenance,
    steps.auto_renew,
    later.leaving,
    later.a_year,
    found.told,
    found.far_away,
    later.marked,
)


async def tell() -> None:
    """Run the story once, with new people and organisations."""
    async with open_doors(f"story-{secrets.token_hex(4)}") as doors:
        story = cast(doors, lambda line: print(f"   {line}", flush=True))
        print(f"The story {doors.run}: a partner orders, a customer's people use it", flush=True)
        for number, step in enumerate(STEPS, start=1):
            print(f"\n{number}. {(step.__doc__ or '').strip()}", flush=True)
            await step(story)
        print(f"\n{len(STEPS) + 1}. Every event of the story, from Kafka, in order, with its cause", flush=True)
        await settle()
        ours = {story.clerk.organisation_id, story.manager.organisation_id, PUBLISHER, ""}
        show([event for event in await doors.events() if event.envelope.tenant in ours], story)


def show(events: list[Seen], story: Story) -> None:
    """Print the events in the order of time.

    Raises:
        Wrong: A stream is out of order, or events are missing.
    """
    people = {p.account_id: p.name for p in (story.clerk, story.manager, story.cad, *story.designers)}
    last: dict[str, int] = {}
    for event in events:
        if event.envelope.version is not None:
            if event.envelope.version != last.get(event.envelope.stream, 0) + 1 and event.envelope.stream in last:
                raise Wrong(
                    f"{event.envelope.stream} version {event.envelope.version} came after {last[event.envelope.stream]}"
                )
            last[event.envelope.stream] = event.envelope.version
    ordered = sorted(events, key=lambda e: (e.envelope.time, TOPICS.index(e.topic), e.envelope.position or 0))
    numbers = {event.envelope.id: number for number, event in enumerate(ordered, start=1)}
    for number, event in enumerate(ordered, start=1):
        envelope = event.envelope
        cause = f"caused by {numbers[envelope.causation_id]}" if envelope.causation_id in numbers else "a command"
        who = people.get(envelope.actor, envelope.actor or envelope.source)
        where = f"{envelope.stream[:44]} v{envelope.version}" if envelope.version is not None else "from outside"
        print(f"   {number:>3}  {envelope.time:%H:%M:%S.%f}  {envelope.type:<26} {where:<50} {cause}, {who}")
    caused = [e for e in ordered if e.envelope.causation_id in numbers]
    if len(ordered) < 30 or not caused:
        raise Wrong(f"Kafka should have at least 30 events of the story, not {len(ordered)}")
    print(f"\nThe story holds: {len(ordered)} events, {len(caused)} of them caused by another.")


def main() -> None:
    started = time.monotonic()
    try:
        asyncio.run(tell())
    except Wrong as wrong:
        sys.exit(f"\nThe story failed: {wrong}")
    print(f"Finished in {time.monotonic() - started:.1f} s.")


if __name__ == "__main__":
    main()
