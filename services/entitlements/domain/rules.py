"""Ids of the rules by which entitlements refuses commands and requests.

Rules that several services apply are in `shared/rules.py`. The source, unless another is named: domain rules,
entitlements.
"""

from typing import Final

from shared.rule_status import Rule

# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────

POOL_NOT_OPEN: Final = "pool-not-open"
"""Seats exist once the publisher has confirmed the subscription."""
SEATS_EXHAUSTED: Final = "seats-exhausted"
"""Never more seats are assigned than were bought."""
SEAT_NOT_HELD: Final = "seat-not-held"
"""A seat is moved from the user who holds it."""
SEAT_HELD_ALREADY: Final = "seat-held-already"
"""A seat is moved to a user without one: a user holds at most one seat of a pool. Source: a choice of this service."""
TERM_ENDED: Final = "term-ended"
"""Seats can be assigned until the end of the last term."""
USER_UNKNOWN: Final = "user-unknown"
"""A user is an open account of the customer. A refusal does not tell whether another organisation's account exists."""

# ── Cloud credits ──────────────────────────────────────────────────────────────────────────────────────

CONTRACT_ENDED: Final = "contract-ended"
"""Credits can be granted only while a subscription of the contract can be used, because they end with the contract."""
CREDITS_EXHAUSTED: Final = "credits-exhausted"
"""No more credits are spent than are available: there is no overdraft."""
CREDITS_TOO_SCATTERED: Final = "credits-too-scattered"
"""One consumption draws on at most 1,000 grants. Source: a choice of this service, so that its event has a bound."""
GRANT_ID_REUSED: Final = "grant-id-reused"
"""A grant's id names one grant."""
CONSUMPTION_ID_REUSED: Final = "consumption-id-reused"
"""A consumption's id names one consumption."""
SEAT_NEEDED: Final = "seat-needed"
"""Only a user with a usable seat of the contract spends its credits."""
NOT_A_PUBLISHER: Final = Rule("not-a-publisher", 403)
"""Only the publisher or the operator grants credits."""
CREDITS_OF_ANOTHER: Final = Rule("credits-of-another", 403)
"""People spend credits for themselves only."""
