"""Ids of the rules by which marketplace refuses commands and requests.

Rules that several services apply are in `shared/rules.py`. The source, unless another is named: domain rules,
marketplace.
"""

from typing import Final

from shared.rule_status import Rule

# ── Plans and CSNs ─────────────────────────────────────────────────────────────────────────────────────

SAID_LATER: Final = "said-later"
"""What the publisher stated later counts, in whichever order its events arrive."""
INVALID_PLAN: Final = "invalid-plan"
"""A price is in the currency that the plan is sold in."""
MALFORMED_CSN: Final = "malformed-csn"
"""A CSN has the form that the publisher's policy describes."""
MALFORMED_PRODUCT_ID: Final = Rule("malformed-product-id", 422)
"""A product ID has 15 characters and reads 5-6-4, with or without hyphens."""
SPECIALISED_NEEDS_CSN: Final = Rule("specialised-needs-csn", 403)
"""Without a valid CSN of the publisher a partner is offered the open catalogue only."""

# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────

PARTNER_ONLY: Final = Rule("partner-only", 403)
"""Only a partner opens carts and orders."""
CART_UNKNOWN: Final = "cart-unknown"
"""A command names a cart that was opened."""
CART_CHECKED_OUT: Final = "cart-checked-out"
"""An ordered cart takes no change."""
CART_DISCARDED: Final = "cart-discarded"
"""A discarded cart takes no change, and is not ordered."""
CART_EMPTY: Final = "cart-empty"
"""A cart is ordered only with at least one line."""
LINE_UNKNOWN: Final = "line-unknown"
"""A command names a line that the cart has or had."""
TOO_MANY_LINES: Final = "too-many-lines"
"""A cart has a limited number of lines."""
ONE_PUBLISHER_A_CART: Final = "one-publisher-a-cart"
"""A cart's order goes to one publisher under one CSN. Source: a choice, see README."""
ONE_CURRENCY_A_CART: Final = "one-currency-a-cart"
"""A cart's total is one sum. Source: a choice, see README."""
PLAN_UNKNOWN: Final = Rule("plan-unknown", 404)
"""The catalogue has the plan."""
PLAN_WITHDRAWN: Final = Rule("plan-withdrawn", 404)
"""The publisher still offers the plan."""
PLAN_CHANGED: Final = "plan-changed"
"""What was shown is what is ordered: a plan that changed since it was put into the cart has to be put in again."""
TWELVE_MONTH_COMMITMENT: Final = "twelve-month-commitment"
"""Every subscription commits for twelve months."""
SEATS_OUT_OF_RANGE: Final = "seats-out-of-range"
"""A subscription has 1 to 999 seats, or what the publisher's policy allows."""
PRODUCT_ID_OR_WIZARD: Final = "product-id-or-wizard"
"""A plan is named by its product ID or by the wizard's choices, not both."""
SELECTION_AMBIGUOUS: Final = "selection-ambiguous"
"""The wizard's choices, or a product ID and its publisher, leave one plan."""
SELECTION_LEADS_NOWHERE: Final = "selection-leads-nowhere"
"""The wizard's choices leave at least one plan."""
PURCHASER_UNKNOWN: Final = "purchaser-unknown"
"""The purchaser is an account of the customer. The refusal does not tell whether another organisation has it."""
PURCHASER_CLOSED: Final = "purchaser-closed"
"""The purchaser's account is open, because it becomes Contract Manager."""
PURCHASER_PLACE_UNKNOWN: Final = "purchaser-place-unknown"
"""The purchaser's profile has a country and a time zone that exist: the term's dates are counted there."""
NOT_A_CUSTOMER: Final = "not-a-customer"
"""An order is for an organisation that signed up as a customer."""
START_IN_THE_PAST: Final = "start-in-the-past"
"""A term starts today or later."""
START_TOO_FAR_AHEAD: Final = "start-too-far-ahead"
"""A term starts at most 31 days ahead, or what the publisher's policy allows."""

# ── Partners and their customers ───────────────────────────────────────────────────────────────────────

PARTNER_NOT_ENGAGED: Final = "partner-not-engaged"
"""A partner orders, and changes what it ordered, only for customers that have accepted it and not released it."""
PARTNER_UNKNOWN: Final = "partner-unknown"
"""A customer engages a partner organisation that is known, and releases one that it has engaged."""
MAY_NOT_ENGAGE: Final = Rule("may-not-engage", 403)
"""A customer's partners are decided by those who manage its people, and by its Contract Managers.

Source: a choice, see README."""
NO_SEATS_REQUEST: Final = "no-seats-request"
"""An answer names the open request for seats of its subscription."""
NO_MORE_SEATS_REQUESTED: Final = "no-more-seats-requested"
"""A request for seats asks for more than the subscription has."""

# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────

SUBSCRIPTION_UNKNOWN: Final = "subscription-unknown"
"""A command names a subscription that was ordered."""
ORDER_AWAITED: Final = "order-awaited"
"""An order can't be corrected while the publisher may still answer it."""
ORDER_FAILED: Final = "order-failed"
"""A declined order can be confirmed only after it was sent again."""
ORDER_REPLACED: Final = "order-replaced"
"""The publisher can confirm only the latest corrected order."""
ORDER_ABANDONED: Final = "order-abandoned"
"""An abandoned order can't be sent again or confirmed."""
ALREADY_CONFIRMED: Final = "already-confirmed"
"""A confirmed order can't be declined, or confirmed under another reference."""
NOT_CONFIRMED: Final = "not-confirmed"
"""Seats and auto-renew can be changed once the publisher has accepted the order."""
NO_REFUNDS: Final = "no-refunds"
"""There are no returns and no refunds."""

# ── Confirmed subscriptions ────────────────────────────────────────────────────────────────────────────

CONTRACT_MANAGER_ONLY: Final = Rule("contract-manager-only", 403)
"""Only the Contract Manager, or the partner that ordered, may turn auto-renew off; only the former asks for seats."""
AUTO_RENEW_CUTOFF_PASSED: Final = "auto-renew-cutoff-passed"
"""Auto-renew can be turned off until 5 business days before the term end date, that day included.

It applies where the publisher's policy refuses later requests; the policy also sets the number of days."""
SEATS_ASSIGNED: Final = "seats-assigned"
"""Auto-renew can be turned off only with no seat assigned. The refusal is an event, because the caller waits for it."""
NO_NEXT_TERM: Final = "no-next-term"
"""Fewer seats take effect at the renewal, so a term that is not renewed keeps its seats."""
TERM_CHANGING: Final = "term-changing"
"""Seats can't be changed between a term's last day and its renewal."""
SUBSCRIPTION_ENDED: Final = "subscription-ended"
"""An ended subscription stays ended."""
