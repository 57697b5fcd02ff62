"""Ids of the rules that entitlements refuses by: what may be used.

Rules that other services share are in `shared/rules.py`. Source of all, where nothing else is said: domain rules,
entitlements.
"""

from typing import Final

# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────

POOL_NOT_OPEN: Final = "pool-not-open"
"""Seats are those of a confirmed subscription."""
SEATS_EXHAUSTED: Final = "seats-exhausted"
"""Never more seats are assigned than were bought."""
TERM_ENDED: Final = "term-ended"
"""Seats are assigned until the term's end."""
USER_UNKNOWN: Final = "user-unknown"
"""A user is an open account of the customer's; whether another organisation's account exists is not told."""

# ── Cloud credits ──────────────────────────────────────────────────────────────────────────────────────

CONTRACT_ENDED: Final = "contract-ended"
"""Credits are granted while a subscription of the contract can be used: they end with the contract."""
CREDITS_EXHAUSTED: Final = "credits-exhausted"
"""There is no overdraft."""
CREDITS_TOO_SCATTERED: Final = "credits-too-scattered"
"""One consumption draws on at most 1,000 grants. Source: ours, so that its event has a bound."""
GRANT_ID_REUSED: Final = "grant-id-reused"
"""A grant's id names one grant."""
CONSUMPTION_ID_REUSED: Final = "consumption-id-reused"
"""A consumption's id names one consumption."""
SEAT_NEEDED: Final = "seat-needed"
"""Whoever spends a contract's credits holds a seat of it that can be used."""
NOT_A_PUBLISHER: Final = "not-a-publisher"
"""The publisher or the operator grants credits."""
CREDITS_OF_ANOTHER: Final = "credits-of-another"
"""People spend credits for themselves only."""
