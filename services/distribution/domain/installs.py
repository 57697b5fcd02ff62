"""The approvals that schedules and policies make due."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from services.distribution.domain.decision_state import Key, State, superseding
from services.distribution.domain.entitlements import Entitlements
from services.distribution.domain.groups import Groups
from services.distribution.domain.policy import Policy, occasion
from shared.events import GroupPolicySet, RolloutPhase, UpdateApproved, UpdateScheduled


def at_once(policy: Policy | GroupPolicySet) -> tuple[RolloutPhase, ...]:
    """Return the one phase of a rollout to all users at once."""
    return (RolloutPhase(share=100, success_percent=policy.success_percent, error_percent=policy.error_percent),)


def approval(
    contract_id: str, key: Key, groups: tuple[str, ...], phases: tuple[RolloutPhase, ...], number: int, by: str
) -> UpdateApproved:
    """Return the approval that starts the contract's rollout of this number."""
    return UpdateApproved(
        contract_id=contract_id,
        publisher=key[0],
        update_id=key[1],
        groups=groups,
        phases=phases,
        number=number,
        rollout_id=f"{contract_id}-{number}",
        approved_by=by,
    )


def installs(state: State, groups: Groups, entitlements: Entitlements) -> Iterator[tuple[datetime, Key, str]]:
    """Yield when a policy or a schedule approves which update for which group.

    Only updates that administrators see are included. A scheduled update that they do not see stays scheduled: it is
    included again once the product is bought again, an extension's term is renewed, or a newer version is withdrawn.
    """
    superseded = superseding(state)
    shown = {
        key: update
        for key, update in state.offered.items()
        if key not in state.recalled and key not in superseded and entitlements.shows(update)
    }
    for (key, group), decided in state.decided.items():
        if isinstance(decided, UpdateScheduled) and key in shown:
            yield max(decided.starts_at, state.again.get(key, decided.starts_at)), key, group
    for group, policy in groups.policies.items():
        for key, update in shown.items() if policy.cadence != "off" else ():
            if update.kind == "update" and (key, group) not in state.decided:
                critical = update.severity == "critical"
                days = policy.critical_days if critical else policy.days
                offered_at = state.again.get(key, update.offered_at)
                ready = max(update.published_at + timedelta(days), offered_at, policy.since)
                yield occasion(policy.critical_period if critical else policy.period, ready), key, group


def approve_due(
    contract_id: str, state: State, groups: Groups, entitlements: Entitlements, now: datetime
) -> tuple[UpdateApproved, ...]:
    """Return the approvals that schedules and policies have made due by `now`.

    A schedule gives one approval for all its groups, with its phases; a policy gives one for each group, with one
    phase.
    """
    approved: list[UpdateApproved] = []
    number = state.numbers
    scheduled: list[UpdateScheduled] = []
    for _, key, group in sorted(due for due in installs(state, groups, entitlements) if due[0] <= now):
        decided = state.decided.get((key, group))
        if isinstance(decided, UpdateScheduled):
            if decided in scheduled:
                continue
            scheduled.append(decided)
            chosen = tuple(candidate for candidate in decided.groups if state.decided[key, candidate] == decided)
            phases, by = decided.phases, decided.scheduled_by
            if len(chosen) < len(decided.groups) and not decided.phases[0].share:
                phases = tuple(phase for phase in phases if set(phase.groups) & set(chosen))
        else:
            policy = groups.policies[group]
            chosen, by = (group,), f"policy:{policy.cadence}"
            phases = at_once(policy)
        number += 1
        approved.append(approval(contract_id, key, chosen, phases, number, by))
    return tuple(approved)
