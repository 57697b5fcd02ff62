"""One round of the drill: load, backup, loss, restore, proof."""

import asyncio
import random
import time
from collections.abc import Callable

from deploy import stack
from deploy.story.__main__ import STEPS
from shared.services import SERVICES
from tests.drill.backup import PRIVATE, Backup, archive_all, now, take_base, take_private, take_secrets
from tests.drill.losses import LOSSES, Scene, secrets_of
from tests.drill.people import get_in, sign_in
from tests.system.comparing import Contents, contents, differences
from tests.system.running import System, finished, tenure, told_as_far_as

Say = Callable[[str], None]


def drill(system: System, backup: Backup, seed: int, say: Say, only: str = "") -> None:
    """Lose a part and restore it. AssertionError if anything differs afterwards.

    Args:
        backup: where the backup goes; the server archives its WAL there already.
        only: a loss by its name; "" for a random one.
    """
    chance, begun = random.Random(seed), time.monotonic()
    loss = only or chance.choice(sorted(LOSSES))
    assert isinstance(system.postgres, stack.Postgres) and isinstance(system.kafka, stack.Kafka)
    take_base(system.postgres, backup)
    step = chance.randrange(2, len(STEPS))
    story = system.story()
    said = told_as_far_as(story, step)
    moment = now(system.postgres)
    say(f"the backup is taken; the moment is in step {step} of a story, {moment}")
    finished(story, patience_s=400)
    people = sign_in(system.env, said)
    sound = system.assert_sound()
    positions = {name: sound[name].position for name in SERVICES}
    former = [each for found in sound.values() if found.foreign for each in found.topic]
    take_private(system.postgres, backup)
    take_secrets(secrets_of(system.kafka), backup)
    archive_all(system.postgres)
    before = _contents(system)

    lost_at = time.monotonic()
    say(f"loss: {loss}")
    if loss == "kafka":
        system.former += former
    scene = Scene(system, system.postgres, backup, moment, chance, say)
    LOSSES[loss](scene)
    system.forgetful |= scene.repaired
    say(f"restored in {time.monotonic() - lost_at:.0f} s")

    sound = system.assert_sound()
    for service in SERVICES:
        added = [event.envelope.stream for event in sound[service].events[positions[service] :]]
        assert all(stream.startswith("operation-") for stream in added), f"{service}: an effect was repeated: {added}"
    after = _contents(system)
    for service in SERVICES:
        changed = differences(before[service], after[service])
        lost = {table: rows for table, (rows, _) in changed.items() if rows and table != "log.head"}
        assert not lost, f"{service}: {lost}"
        tenure(system, "verify", service, "--anew")
    get_in(system.env, people, sessions_last=PRIVATE not in scene.repaired)
    say(f"{len(people)} people get in, are called by their names, and their tokens are valid")
    say(f"all is as it was: {sum(positions.values())} events, {time.monotonic() - begun:.0f} s")


def _contents(system: System) -> dict[str, Contents]:
    return {name: asyncio.run(contents(dsn)) for name, dsn in system.dsns().items()}
