"""What is wrong with a decision about a fleet, before anything follows from it."""

from services.distribution.domain import rules
from services.distribution.domain.fleet_state import DEFAULT_GROUP, Key, State
from shared.eventlog.decision import Rejected
from shared.events import RolloutPhase


def undecidable(key: Key, groups: tuple[str, ...], state: State) -> Rejected | None:
    """Why nothing can be decided about the update for these groups, if so."""
    if key in state.recalled:
        gone = state.recalled[key]
        return Rejected(
            rules.UPDATE_WITHDRAWN,
            f"{gone.publisher} withdrew the update: {gone.reason}",
            "Decide about another one.",
            (gone,),
        )
    offered = state.offered.get(key)
    if offered is None:
        return Rejected(
            rules.UPDATE_NOT_AVAILABLE,
            f"No product of this contract has an update {key[1]}.",
            "See the updates that are available; one that has just been published is known here a moment later.",
        )
    if not state.owns(offered):
        ended = tuple(pool.ended for pool in state.serving(offered) if pool.ended is not None)
        return Rejected(
            rules.PRODUCT_NOT_OWNED,
            f"The update is for {offered.product}, of which this contract has no seats"
            + (" any more." if ended else "."),
            "Buy the product; seats that have just been bought are known here a moment later.",
            ended,
        )
    if not state.shows(offered):
        idle = tuple(pool.no_term for pool in state.serving(offered) if pool.no_term and pool.ended is None)
        return Rejected(
            rules.TERM_NOT_ACTIVE,
            f"{key[1]} is an extension, which is for subscribers only, and no term of {offered.product} is active.",
            "Decide about it during a term; one that has just begun is known here a moment later.",
            idle,
        )
    return unknown_groups(groups, state)


def unknown_groups(groups: tuple[str, ...], state: State) -> Rejected | None:
    if not groups:
        return Rejected(rules.GROUPS_MALFORMED, "No group is named.", "Name a group.")
    missing = [group for group in groups if group != DEFAULT_GROUP and group not in state.groups]
    if not missing:
        return None
    return Rejected(rules.GROUP_UNKNOWN, f"There is no group {', '.join(missing)[:200]}.", "Create it first.")


def malformed_phases(phases: tuple[RolloutPhase, ...], groups: tuple[str, ...]) -> Rejected | None:
    """What is wrong with the phases, if anything: they share the users out, wholly, each to one phase."""
    if not phases:
        return None
    percents = [p for phase in phases for p in (phase.success_percent, phase.error_percent)]
    by_share = all(phase.share > 0 and not phase.groups for phase in phases) and sum(p.share for p in phases) == 100
    by_group = all(phase.share == 0 and phase.groups for phase in phases) and sorted(
        group for phase in phases for group in phase.groups
    ) == sorted(groups)
    if (by_share or by_group) and all(1 <= percent <= 100 for percent in percents):
        return None
    return Rejected(
        rules.PHASES_MALFORMED,
        "Phases have shares that add up to 100, or each of the rollout's groups stands in one of "
        "them; thresholds are 1 to 100 percent.",
        "Correct the phases.",
    )
