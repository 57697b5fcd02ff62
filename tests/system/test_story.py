"""The main job on a running system, and again while each of its processes is killed."""

import time
from collections import Counter

import pytest

from tests.system.running import PARTS, System, finished, told_as_far_as

pytestmark = pytest.mark.system

TOLD = {
    "AccountOpened": 6, "AccountClosed": 1, "ContractOpened": 1, "RoleAssigned": 3, "RoleRevoked": 1,
    "AgreementStarted": 2, "AgreementEnded": 1, "ClockMoved": 4,
    "CsnIssued": 1, "CartCheckedOut": 1, "SubscriptionOrdered": 2, "SubscriptionConfirmed": 2, "SeatsAdded": 1,
    "AutoRenewDisabled": 1, "AutoRenewDisableRefused": 1, "RenewalReminded": 3, "SubscriptionRenewed": 1,
    "SubscriptionEnded": 1,
    "SeatPoolOpened": 2, "SeatAssigned": 4, "SeatUnassigned": 4, "SeatPoolResized": 1, "SeatPoolRenewed": 1,
    "SeatPoolHeld": 1, "SeatPoolCleared": 1, "SeatPoolExpired": 1, "SeatPoolSuspended": 1, "SeatPoolEnded": 1,
    "UpdateRightGranted": 2, "CreditsGranted": 2, "CreditsConsumed": 1,
    "UpdatePublished": 1, "UpdateApproved": 1, "RolloutStarted": 1, "InstallSucceeded": 4, "RolloutCompleted": 1,
}  # fmt: skip
"""How often each of these happens in one story, whatever is killed meanwhile."""


def test_the_story_can_be_told_again_and_again(running: System) -> None:
    for _ in range(2):
        assert "The story holds" in running.tell()
    running.assert_sound()


@pytest.mark.parametrize("victim", PARTS)
def test_a_killed_process_loses_doubles_and_reorders_nothing(running: System, victim: str) -> None:
    """SIGKILL in the middle of the story; its clients send again what got no answer, and it ends as it should."""
    before = {service: e.position for service, e in running.evidence().items()}
    story = running.story()
    try:
        told_as_far_as(story, 3 + PARTS.index(victim))  # each of them at another step
        time.sleep(0.1)
        running.part(victim).kill()
        time.sleep(0.3)
        running.part(victim).start()
        said = finished(story)
    finally:
        story.kill()
        story.wait()
    assert "The story holds" in said
    after = running.assert_sound()
    told = Counter(e.of.type for service, found in after.items() for e in found.events[before[service] :])
    assert {kind: told[kind] for kind in TOLD} == TOLD, said
