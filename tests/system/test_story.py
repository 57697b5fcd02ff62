"""The main job on a running system, and again while each of its processes is killed."""

import os
import subprocess
import sys
import time
from collections import Counter

import pytest

from deploy import ROOT
from deploy.cast import SIGN_INS
from tests.system.running import PARTS, System, finished, told_as_far_as

pytestmark = pytest.mark.system

TOLD = {
    "InvitationIssued": 4,
    "InvitationAccepted": 4,
    "AccountOpened": 7,
    "AccountClosed": 1,
    "ContractOpened": 2,
    "RoleAssigned": 4,
    "RoleRevoked": 1,
    "AgreementStarted": 3,
    "AgreementEnded": 1,
    "ClockMoved": 8,
    "CsnIssued": 2,
    "CsnRevoked": 1,
    "CartCheckedOut": 2,
    "SubscriptionOrdered": 4,
    "SubscriptionOrderFailed": 1,
    "SubscriptionConfirmed": 3,
    "SeatsAdded": 1,
    "SeatDecreaseScheduled": 1,
    "AutoRenewDisabled": 2,
    "AutoRenewDisableRefused": 1,
    "RenewalReminded": 3,
    "SubscriptionRenewed": 1,
    "SubscriptionEnded": 1,
    "SeatPoolOpened": 3,
    "SeatAssigned": 6,
    "SeatUnassigned": 6,
    "SeatPoolResized": 1,
    "SeatPoolRenewed": 1,
    "SeatPoolHeld": 1,
    "SeatPoolCleared": 2,
    "SeatPoolExpired": 1,
    "SeatPoolSuspended": 1,
    "SeatPoolEnded": 1,
    "UpdateRightGranted": 5,
    "UpdateRightLost": 3,
    "CreditsGranted": 2,
    "CreditsConsumed": 1,
    "UpdatePublished": 3,
    "UpdateHeld": 1,
    "GroupPolicySet": 1,
    "UpdateScheduled": 1,
    "UpdateApproved": 2,
    "RolloutStarted": 2,
    "InstallSucceeded": 4,
    "InstallFailed": 1,
    "RolloutPaused": 2,
    "RolloutResumed": 1,
    "RolloutCompleted": 1,
    "RolloutStopped": 1,
    "TargetExcluded": 1,
    "FailuresRetried": 1,
}
"""How often each of these happens in one story, whatever is killed meanwhile."""


def test_the_story_can_be_told_again(running: System) -> None:
    assert "The story holds" in running.tell()
    running.assert_sound()


@pytest.mark.parametrize("victims", list(zip(PARTS[::3], PARTS[1::3], PARTS[2::3], strict=True)), ids="-".join)
def test_killed_processes_lose_double_and_reorder_nothing(running: System, victims: tuple[str, ...]) -> None:
    """SIGKILL in the middle of the story, one after another; its clients send again what got no answer, and it ends as
    it should."""
    before = {service: e.position for service, e in running.evidence().items()}
    story = running.story()
    try:
        for victim in victims:
            told_as_far_as(story, 3 + PARTS.index(victim))  # each of them at another step
            time.sleep(0.1)
            assert story.poll() is None, "in its middle"
            running.part(victim).kill()
            time.sleep(0.3)
            running.part(victim).start()
        said = finished(story)
    finally:
        story.kill()
        story.wait()
    assert "The story holds" in said
    after = running.assert_sound()
    told = Counter(e.envelope.type for service, found in after.items() for e in found.events[before[service] :])
    assert {kind: told[kind] for kind in TOLD} == TOLD, said


def test_the_examples_people_are_prepared_once(running: System) -> None:
    """`make up` prepares them; what was interrupted is completed by the next, and what is there stays."""
    before = {service: e.position for service, e in running.evidence().items()}
    command = [sys.executable, "-m", "deploy.example"]
    for _ in range(2):
        env = {**os.environ, **running.env}
        said = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
        assert said.returncode == 0 and all(each.email in said.stdout for each in SIGN_INS), said.stderr
    after = running.assert_sound()
    told = Counter(e.envelope.type for service, found in after.items() for e in found.events[before[service] :])
    assert (told["AccountOpened"], told["SubscriptionConfirmed"], told["SeatAssigned"]) == (8, 1, 3)
    assert (told["CartCheckedOut"], told["RoleRequested"], told["UpdatePublished"]) == (1, 1, 1)
    assert told["AddressVerified"] == 8, "nothing is mailed to an address that is not confirmed"
