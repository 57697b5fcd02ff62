"""Ids of the rules that distribution refuses by: what reaches the desktops.

Rules that other services share are in `shared/rules.py`. Source of all, where nothing else is said: domain rules,
distribution.
"""

from typing import Final

# ── Updates ────────────────────────────────────────────────────────────────────────────────────────────

UPDATE_ALREADY_PUBLISHED: Final = "update-already-published"
"""A published update does not change: decisions about it must stay true."""
UPDATE_WITHDRAWN: Final = "update-withdrawn"
"""A withdrawn update stays withdrawn, and nothing is decided about it."""

# ── Groups and policies ────────────────────────────────────────────────────────────────────────────────

GROUP_NAME_TAKEN: Final = "group-name-taken"
"""A group's name is unique within its contract."""
GROUP_UNKNOWN: Final = "group-unknown"
"""A command names groups of the contract."""
GROUPS_MALFORMED: Final = "groups-malformed"
"""A decision names at least one group."""
USER_NOT_MANAGED: Final = "user-not-managed"
"""A group's users hold a seat of the contract."""

# ── Decisions about updates ────────────────────────────────────────────────────────────────────────────

UPDATE_NOT_AVAILABLE: Final = "update-not-available"
"""Decisions are about updates for a product of the contract."""
PRODUCT_NOT_OWNED: Final = "product-not-owned"
"""Updates are available for products that the contract owns."""
TERM_NOT_ACTIVE: Final = "term-not-active"
"""Extensions are for subscribers only."""
UPDATE_ALREADY_APPROVED: Final = "update-already-approved"
"""An update is on its way to a group by one rollout at a time."""
PHASES_MALFORMED: Final = "phases-malformed"
"""A rollout's phases share all its users out, each to one phase, with thresholds of 1 to 100 percent."""
SCHEDULE_IN_THE_PAST: Final = "schedule-in-the-past"
"""An update is scheduled for an instant to come."""

# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────

ROLLOUT_UNKNOWN: Final = "rollout-unknown"
"""A command names a rollout that was started."""
ROLLOUT_STOPPED: Final = "rollout-stopped"
"""A stopped rollout stays stopped."""
NOT_A_TARGET: Final = "not-a-target"
"""A rollout's users hold a seat, in an active term, with the update right; only their machines report to it."""
PHASE_NOT_STARTED: Final = "phase-not-started"
"""Machines report once their user's phase has started."""
VERSION_MISMATCH: Final = "version-mismatch"
"""Machines report the version that the rollout is of."""
