"""distribution's doors: an administrator's for a contract's fleet and rollouts, and one for the users' machines."""

from typing import Any, Final

from services.distribution.domain.decisions import ApproveUpdate, HoldUpdate, ScheduleUpdate
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.groups import CreateGroup, PutUserInGroup, RemoveUserFromGroup, SetGroupPolicy
from services.distribution.domain.rollout import (
    ROLLOUT,
    PauseRollout,
    ReportInstall,
    ResumeRollout,
    Running,
    Stopped,
    StopRollout,
)
from services.distribution.policies import policy_of
from shared.runtime.access import require_access
from shared.runtime.doors import Call, Doors, Target
from shared.runtime.problems import unknown

DOORS: Final = Doors()


async def _administered(call: Call, **supplied: Any) -> Target:
    """The fleet of the path's contract, if the caller administers it."""
    contract_id = call.path["contract_id"]
    await require_access(call.db, call.actor, contract_id)
    return Target(contract_id, by=call.actor.account_id, **supplied)


async def _create(call: Call) -> Target:
    return await _administered(call, group_id=call.new_id(), customer=call.actor.organisation_id)


async def _set_policy(call: Call) -> Target:
    """By the figures of the publisher that the contract is with: a group's policy is for all its updates."""
    target = await _administered(call, customer=call.actor.organisation_id, now=call.now)
    target.supplied["policy"] = policy_of((await call.log.state(FLEET, target.key)).entitlements.publisher)
    return target


async def _approve(call: Call) -> Target:
    return await _administered(call, policy=policy_of(call.path["publisher"]))


async def _schedule(call: Call) -> Target:
    return await _administered(call, policy=policy_of(call.path["publisher"]), now=call.now)


_CONTRACT: Final = "/contracts/{contract_id}"
_UPDATE: Final = f"{_CONTRACT}/updates/{{publisher}}/{{update_id}}"
_MEMBERS: Final = f"{_CONTRACT}/groups/{{group_id}}/users"
DOORS.post(f"{_CONTRACT}/groups", FLEET, CreateGroup, supply=_create)
DOORS.post(_MEMBERS, FLEET, PutUserInGroup, supply=_administered, bulk=True)
DOORS.delete(f"{_MEMBERS}/{{account_id}}", FLEET, RemoveUserFromGroup, supply=_administered)
DOORS.put(f"{_CONTRACT}/groups/{{group_id}}/policy", FLEET, SetGroupPolicy, supply=_set_policy)
DOORS.post(f"{_UPDATE}/approval", FLEET, ApproveUpdate, supply=_approve)
DOORS.post(f"{_UPDATE}/hold", FLEET, HoldUpdate, supply=_administered)
DOORS.post(f"{_UPDATE}/schedule", FLEET, ScheduleUpdate, supply=_schedule)


async def _steered(call: Call) -> Target:
    """The rollout of the path, if it is the contract's and the caller administers that."""
    contract_id, rollout_id = call.path["contract_id"], call.path["rollout_id"]
    await require_access(call.db, call.actor, contract_id)
    state = await call.log.state(ROLLOUT, rollout_id)
    if not isinstance(state, Running | Stopped) or state.started.contract_id != contract_id:
        raise unknown("rollout", "See GET /contracts/{contract_id}/rollouts.")
    return Target(rollout_id, by=call.actor.account_id)


_ROLLOUT: Final = f"{_CONTRACT}/rollouts/{{rollout_id}}"
DOORS.post(f"{_ROLLOUT}/pause", ROLLOUT, PauseRollout, supply=_steered)
DOORS.post(f"{_ROLLOUT}/resume", ROLLOUT, ResumeRollout, supply=_steered)
DOORS.post(f"{_ROLLOUT}/stop", ROLLOUT, StopRollout, supply=_steered)


async def _reported(call: Call) -> Target:
    """A machine speaks for the user who is signed in on it, and for nobody else."""
    return Target(call.body.rollout_id, account_id=call.actor.account_id)


DOORS.post("/me/installs", ROLLOUT, ReportInstall, supply=_reported, scopes=("installs:report",))
