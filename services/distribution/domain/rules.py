"""Ids of the rules by which distribution refuses commands and requests.

Rules that several services apply are in `shared/rules.py`. The source, unless another is named: domain rules,
distribution.
"""

from typing import Final

# ── Updates ────────────────────────────────────────────────────────────────────────────────────────────

UPDATE_ALREADY_PUBLISHED: Final = "update-already-published"
"""A published update does not change, because administrators have decided about it."""
UPDATE_WITHDRAWN: Final = "update-withdrawn"
"""A withdrawn update stays withdrawn, and no decision about it is accepted."""
UPDATE_SUPERSEDED: Final = "update-superseded"
"""Nothing is decided about a version while a newer one of the same product and platform is offered."""

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
"""A decision names an update for a product of the contract."""
PRODUCT_NOT_OWNED: Final = "product-not-owned"
"""Updates are available for products that the contract owns."""
TERM_NOT_ACTIVE: Final = "term-not-active"
"""Extensions are for subscribers only."""
UPDATE_ALREADY_APPROVED: Final = "update-already-approved"
"""An update has at most one running rollout for a group."""
PHASES_MALFORMED: Final = "phases-malformed"
"""A rollout's phases assign each of its users to exactly one phase, with thresholds of 1 to 100 percent."""
SCHEDULE_IN_THE_PAST: Final = "schedule-in-the-past"
"""An update is scheduled for an instant in the future."""

# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────

ROLLOUT_UNKNOWN: Final = "rollout-unknown"
"""A command names a rollout that was started."""
ROLLOUT_STOPPED: Final = "rollout-stopped"
"""A stopped rollout stays stopped."""
NOT_A_TARGET: Final = "not-a-target"
"""Only the machines of a rollout's users report to it: users with a seat, in an active term, with the update right."""
PHASE_NOT_STARTED: Final = "phase-not-started"
"""A machine reports only after its user's phase has started."""
TARGET_UNKNOWN: Final = "target-unknown"
"""An exclusion names a user of the rollout, and a machine of theirs that has reported to it."""
PHASE_WITHOUT_USERS: Final = "phase-without-users"
"""A rollout is not resumed while nobody in its present phase could try the update."""
NOTHING_FAILED: Final = "nothing-failed"
"""Failures are retried only where there are some."""
PHASE_NOT_PRESENT: Final = "phase-not-present"
"""An administrator ends the rollout's present phase, so that two of them do not end two."""
VERSION_MISMATCH: Final = "version-mismatch"
"""A machine reports the installation of the rollout's version."""
