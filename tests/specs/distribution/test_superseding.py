"""A newer version supersedes older ones of the same product and platform."""

from dataclasses import replace
from datetime import datetime

from services.distribution.domain.decision_state import superseding
from services.distribution.domain.decisions import ApproveUpdate, HoldUpdate, OfferUpdate
from services.distribution.domain.fleet import FLEET, ActOnWhatIsDue, Command, Event, standing
from services.distribution.domain.policy import DEFAULT
from shared.events import (
    UpdateApproved,
    UpdateOffered,
    UpdatePublished,
)
from tests.examples.distribution import DAY, MONDAY, NOON, SERVED, UPDATE, approve, recall, schedule, weekly
from tests.spec import given

NEWER = UPDATE.model_copy(update={"update_id": "v", "version": "2027.2", "published_at": NOON + DAY})


def offer(update: UpdatePublished, now: datetime = NOON) -> OfferUpdate:
    return OfferUpdate("c", update, now)


RECALL = recall("v", MONDAY)
HOLD = HoldUpdate(contract_id="c", publisher="autodesk", update_id="u", groups=("default",), reason="r", by="mina")


def without_platforms(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The fleet's events as they were before an offer named its platform."""
    return tuple(e.model_copy(update={"platform": ""}) if isinstance(e, UpdateOffered) else e for e in events)


def superseded(*offers: UpdatePublished) -> set[str]:
    state = given(FLEET).after(*SERVED[:4], *map(offer, offers)).state.decisions
    return {update_id for _, update_id in superseding(state)}


def test_the_newest_of_each_product_and_platform_is_offered_whatever_comes_first() -> None:
    others = [
        UPDATE.model_copy(update={"update_id": name, "version": "2027.9", **what})
        for name, what in {
            "mac": {"platform": "macos"},
            "lt": {"product": "autocad-lt"},
            "extension": {"kind": "extension"},
            "component": {"component": "raster"},
            "rival": {"publisher": "rival"},
        }.items()
    ]
    assert superseded(UPDATE, NEWER) == superseded(NEWER, UPDATE) == {"u"}
    assert superseded(UPDATE, *others) == set()
    many = [UPDATE.model_copy(update={"update_id": f"u-{n}", "version": f"2027.{n}"}) for n in range(30)]
    assert superseded(*many) == {f"u-{n}" for n in range(29)}


def test_nothing_is_decided_about_a_superseded_version() -> None:
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        refused = given(FLEET).after(*SERVED, offer(NEWER)).when(command)
        refusal = refused.then_refused("update-superseded", because=[UpdateOffered])
        assert "2027.2" in refusal.reason and "v" in refusal.remedy
        given(FLEET).after(offer(NEWER), *SERVED).when(command).then_refused(
            "update-superseded", because=[UpdateOffered]
        )


def test_its_rollouts_end_and_the_approvals_lapse() -> None:
    (offered,) = given(FLEET).after(*SERVED, approve()).when(offer(NEWER)).then_accepted()
    assert isinstance(offered, UpdateOffered) and offered.rollouts == (1,)
    over = standing(given(FLEET).after(*SERVED, approve(), offer(NEWER)).state, 1)
    assert "2027.2" in over.over and over.over_by == "autodesk" and not over.targets
    given(FLEET).after(*SERVED, approve(), offer(NEWER)).when(offer(NEWER)).then_nothing()
    third = NEWER.model_copy(update={"update_id": "w", "version": "2027.3"})
    (again,) = given(FLEET).after(*SERVED, approve(), offer(NEWER)).when(offer(third)).then_accepted()
    assert isinstance(again, UpdateOffered) and again.rollouts == (), "it has ended already"


def test_an_older_version_that_comes_late_ends_nothing() -> None:
    older = UPDATE.model_copy(update={"update_id": "t", "version": "2026.9", "published_at": NOON + 9 * DAY})
    (offered,) = given(FLEET).after(*SERVED, approve()).when(offer(older)).then_accepted()
    assert isinstance(offered, UpdateOffered) and offered.rollouts == ()
    assert set(standing(given(FLEET).after(*SERVED, approve(), offer(older)).state, 1).targets) == {"ana", "ben"}


def test_a_withdrawn_version_supersedes_nothing_and_the_one_before_is_offered_again() -> None:
    withdrawn = (*SERVED, approve(), offer(NEWER), RECALL)
    over = standing(given(FLEET).after(*withdrawn).state, 1)
    assert over.over, "what has ended stays so"
    (approved,) = given(FLEET).after(*withdrawn).when(approve()).then_accepted()
    assert isinstance(approved, UpdateApproved) and approved.number == 2
    assert set(standing(given(FLEET).after(*withdrawn, approve()).state, 2).targets) == {"ana", "ben"}
    newer = ApproveUpdate(
        contract_id="c", publisher="autodesk", update_id="v", groups=("default",), by="mina", policy=DEFAULT
    )
    given(FLEET).after(*withdrawn).when(newer).then_refused("update-withdrawn", because=None)


def test_policies_and_schedules_take_the_newest_only() -> None:
    offered = (*SERVED, weekly(), offer(NEWER, NOON + DAY))
    assert given(FLEET).after(*offered).state.wake == MONDAY
    approved, _ = given(FLEET).after(*offered).when(ActOnWhatIsDue("c", MONDAY)).then_accepted()
    assert isinstance(approved, UpdateApproved) and approved.update_id == "v"
    scheduled = (*SERVED, schedule(MONDAY), offer(NEWER))
    assert given(FLEET).after(*scheduled).state.wake is None
    assert given(FLEET).after(*scheduled, recall("v", NOON)).state.wake == MONDAY
    assert given(FLEET).after(*scheduled, recall("v", MONDAY + DAY)).state.wake == MONDAY + DAY


def test_a_policy_takes_the_one_before_again_once_the_newest_is_withdrawn() -> None:
    acted = (*SERVED, weekly(), ActOnWhatIsDue("c", MONDAY), offer(NEWER, MONDAY + DAY))
    gone = recall("v", MONDAY + 2 * DAY)
    assert given(FLEET).after(*acted, gone).state.wake == MONDAY + 7 * DAY, "it is offered again on a Wednesday"
    approved, _ = given(FLEET).after(*acted, gone).when(ActOnWhatIsDue("c", MONDAY + 7 * DAY)).then_accepted()
    assert isinstance(approved, UpdateApproved) and (approved.update_id, approved.number) == ("u", 2)


def test_offers_from_before_they_named_a_platform_are_compared_once_another_comes() -> None:
    before = given(FLEET, *without_platforms(given(FLEET).after(*SERVED, approve()).events))
    assert not superseding(before.after(offer(NEWER)).state.decisions), "it may be for another platform"
    named, offered = before.when(replace(offer(NEWER), earlier=(UPDATE,))).then_accepted()
    assert isinstance(named, UpdateOffered) and (named.update_id, named.platform) == ("u", "win64")
    assert isinstance(offered, UpdateOffered) and offered.rollouts == (1,)
