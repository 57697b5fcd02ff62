"""The routes of distribution's commands.

All but one are for the administrators of a contract; agents report installs by `POST /me/installs`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from pydantic import ConfigDict

from services.distribution.domain.decisions import ApproveUpdate, HoldUpdate, ScheduleUpdate
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.groups import (
    NOBODY,
    CreateGroup,
    PutUserInGroup,
    RemoveUserFromGroup,
    SetGroupPolicy,
)
from services.distribution.domain.policy import Policy
from services.distribution.domain.rollout import (
    ROLLOUT,
    ExcludeTarget,
    MoveOn,
    PauseRollout,
    ReportInstall,
    ResumeRollout,
    RetryFailed,
    Running,
    Stopped,
    StopRollout,
)
from services.distribution.publisher import COMMANDS as PUBLISHERS
from shared.events.fields import Address, Identifier
from shared.runtime.access import require_access
from shared.runtime.people import NamesPeople
from shared.runtime.policies import policy_of
from shared.runtime.problems import unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext

COMMANDS: Final = CommandRoutes(PUBLISHERS)


_CONTRACT: Final = "/contracts/{contract_id}"
_UPDATE: Final = f"{_CONTRACT}/updates/{{publisher}}/{{update_id}}"
_MEMBERS: Final = f"{_CONTRACT}/groups/{{group_id}}/users"
_ROLLOUT: Final = f"{_CONTRACT}/rollouts/{{rollout_id}}"

# ── A contract's fleet ─────────────────────────────────────────────────────────────────────────────────


async def _administrator_of(context: RequestContext[object], contract_id: str) -> str:
    """Return the caller's account id.

    Raises:
        Problem: 403 or 404 if the caller doesn't administer the contract.
    """
    await require_access(context.db, context.actor, contract_id)
    return context.actor.account_id


@COMMANDS.route("POST", f"{_CONTRACT}/groups", FLEET, location=f"{_CONTRACT}/groups/{{group_id}}")
async def create_group(context: RequestContext[CreateGroup]) -> Addressed[CreateGroup]:
    by = await _administrator_of(context, context.asked.contract_id)
    customer = context.actor.organisation_id
    command = replace(context.asked, group_id=context.new_id(), customer=customer, by=by)
    return Addressed(command.contract_id, command)


class GroupUser(NamesPeople):
    """The user who is put into a group: either `account_id` or `email`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    PEOPLE: ClassVar[Mapping[str, str]] = {"email": "account_id"}

    account_id: Identifier | None = None
    email: Address | None = None


@COMMANDS.route("POST", f"{_MEMBERS}/bulk", FLEET, bulk=True)
@COMMANDS.route("POST", _MEMBERS, FLEET)
async def put_user_in_group(
    context: RequestContext[GroupUser], contract_id: str, group_id: str
) -> Addressed[PutUserInGroup]:
    by = await _administrator_of(context, contract_id)
    return Addressed(contract_id, PutUserInGroup(context.asked.account_id or NOBODY, contract_id, group_id, by))


@COMMANDS.route("DELETE", f"{_MEMBERS}/{{account_id}}", FLEET)
async def remove_user_from_group(context: RequestContext[RemoveUserFromGroup]) -> Addressed[RemoveUserFromGroup]:
    by = await _administrator_of(context, context.asked.contract_id)
    return Addressed(context.asked.contract_id, replace(context.asked, by=by))


@COMMANDS.route("PUT", f"{_CONTRACT}/groups/{{group_id}}/policy", FLEET)
async def set_group_policy(context: RequestContext[SetGroupPolicy]) -> Addressed[SetGroupPolicy]:
    """Complete the command with the policy of the contract's publisher.

    A group's policy applies to all of its updates, so that no single update's publisher determines it.
    """
    contract_id = context.asked.contract_id
    by = await _administrator_of(context, contract_id)
    policy = policy_of(Policy, (await context.state(FLEET, contract_id)).entitlements.publisher)
    customer = context.actor.organisation_id
    return Addressed(contract_id, replace(context.asked, customer=customer, by=by, now=context.now, policy=policy))


@COMMANDS.route("POST", f"{_UPDATE}/approval", FLEET)
async def approve_update(context: RequestContext[ApproveUpdate]) -> Addressed[ApproveUpdate]:
    by = await _administrator_of(context, context.asked.contract_id)
    policy = policy_of(Policy, context.asked.publisher)
    return Addressed(context.asked.contract_id, replace(context.asked, by=by, policy=policy))


@COMMANDS.route("POST", f"{_UPDATE}/hold", FLEET)
async def hold_update(context: RequestContext[HoldUpdate]) -> Addressed[HoldUpdate]:
    by = await _administrator_of(context, context.asked.contract_id)
    return Addressed(context.asked.contract_id, replace(context.asked, by=by))


@COMMANDS.route("POST", f"{_UPDATE}/schedule", FLEET)
async def schedule_update(context: RequestContext[ScheduleUpdate]) -> Addressed[ScheduleUpdate]:
    by = await _administrator_of(context, context.asked.contract_id)
    policy = policy_of(Policy, context.asked.publisher)
    return Addressed(context.asked.contract_id, replace(context.asked, by=by, now=context.now, policy=policy))


# ── A rollout ──────────────────────────────────────────────────────────────────────────────────────────


async def _rollout_administrator(context: RequestContext[object], contract_id: str, rollout_id: str) -> str:
    """Return the caller's account id, if they administer the rollout's contract.

    Raises:
        Problem: 403 or 404 if the caller doesn't administer the contract; 404 if it has no such rollout.
    """
    by = await _administrator_of(context, contract_id)
    state = await context.state(ROLLOUT, rollout_id)
    if not isinstance(state, Running | Stopped) or state.started.contract_id != contract_id:
        raise unknown("rollout", "See GET /contracts/{contract_id}/rollouts.")
    return by


@COMMANDS.route("POST", f"{_ROLLOUT}/pause", ROLLOUT)
async def pause_rollout(
    context: RequestContext[PauseRollout], contract_id: str, rollout_id: str
) -> Addressed[PauseRollout]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, replace(context.asked, by=by))


@COMMANDS.route("POST", f"{_ROLLOUT}/resume", ROLLOUT)
async def resume_rollout(
    context: RequestContext[ResumeRollout], contract_id: str, rollout_id: str
) -> Addressed[ResumeRollout]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, ResumeRollout(by=by, now=context.now))


@COMMANDS.route("POST", f"{_ROLLOUT}/exclusions", ROLLOUT)
async def exclude_target(
    context: RequestContext[ExcludeTarget], contract_id: str, rollout_id: str
) -> Addressed[ExcludeTarget]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, replace(context.asked, by=by, now=context.now))


@COMMANDS.route("POST", f"{_ROLLOUT}/retry", ROLLOUT)
async def retry_failed(
    context: RequestContext[RetryFailed], contract_id: str, rollout_id: str
) -> Addressed[RetryFailed]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, RetryFailed(by=by, now=context.now))


@COMMANDS.route("POST", f"{_ROLLOUT}/move-on", ROLLOUT)
async def move_on(context: RequestContext[MoveOn], contract_id: str, rollout_id: str) -> Addressed[MoveOn]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, replace(context.asked, by=by, now=context.now))


@COMMANDS.route("POST", f"{_ROLLOUT}/stop", ROLLOUT)
async def stop_rollout(
    context: RequestContext[StopRollout], contract_id: str, rollout_id: str
) -> Addressed[StopRollout]:
    by = await _rollout_administrator(context, contract_id, rollout_id)
    return Addressed(rollout_id, replace(context.asked, by=by))


@COMMANDS.route("POST", "/me/installs", ROLLOUT, scopes=("installs:report",))
async def report_install(context: RequestContext[ReportInstall]) -> Addressed[ReportInstall]:
    """Complete the report with the user who is signed in on the machine.

    Its time is that of the rollout's customer.
    """
    state = await context.state(ROLLOUT, context.asked.rollout_id)
    now = context.time_of(state.started.customer) if isinstance(state, Running) else context.now
    command = replace(context.asked, account_id=context.actor.account_id, now=now)
    return Addressed(command.rollout_id, command)
