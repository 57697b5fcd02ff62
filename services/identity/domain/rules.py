"""Ids of the rules by which identity refuses commands and requests.

Rules that several services apply are in `shared/rules.py`. The source, unless another is named: domain rules,
identity.
"""

from typing import Final

from shared.rule_status import Rule

# ── Accounts ───────────────────────────────────────────────────────────────────────────────────────────

EMAIL_TAKEN: Final = "email-taken"
"""An e-mail address belongs to one account at a time."""
ADDRESS_MISSING: Final = "address-missing"
"""A new account and a changed profile have an e-mail address."""
ACCOUNT_UNKNOWN: Final = "account-unknown"
"""A command names an account that exists."""
ACCOUNT_CLOSED: Final = "account-closed"
"""A closed account stays closed."""
STILL_CONTRACT_MANAGER: Final = "still-contract-manager"
"""A Contract Manager hands the contracts over before closing the account, because a contract always has one."""

NOTIFICATION_KIND_UNKNOWN: Final = Rule("notification-kind-unknown", 422)
"""A preference names a kind of notifications that exists."""
NOTIFICATION_REQUIRED: Final = "notification-required"
"""Notifications on which a deadline, an order or an access depends reach the person by one way at least."""

# ── Addresses and other issuers ────────────────────────────────────────────────────────────────────────

VERIFICATION_NOT_VALID: Final = "verification-not-valid"
"""A verification link is valid for the address to which it was mailed, until it expires."""
PROOF_NOT_VALID: Final = "proof-not-valid"
"""A proof of an address is valid for that address, until it expires."""
ADDRESS_NOT_VERIFIED: Final = Rule("address-not-verified", 403)
"""An identity of another issuer is linked by address only if both sides have verified it."""
IDENTITY_LINKED: Final = "identity-linked"
"""An identity is linked to at most one account, and an account to at most one identity of an issuer."""
NO_OTHER_SIGN_IN: Final = "no-other-sign-in"
"""The last identity of an account is unlinked only if the account has a password, so that its person can sign in."""
ISSUER_NOT_CONFIGURED: Final = Rule("issuer-not-configured", 404)
"""An ID token comes from an issuer that the service is configured for."""
ID_TOKEN_NOT_VALID: Final = Rule("id-token-not-valid", 401)
"""An ID token is signed by its issuer, for this service, and has not expired."""
NO_ACCOUNT_FOR_IDENTITY: Final = Rule("no-account-for-identity", 403)
"""Signing in with another issuer's identity needs an account that it is linked to."""

# ── Invitations ────────────────────────────────────────────────────────────────────────────────────────

MAY_NOT_INVITE: Final = Rule("may-not-invite", 403)
"""Only an open account with the right to invite into the organisation invites people."""
MAY_NOT_SEE_PEOPLE: Final = Rule("may-not-see-people", 403)
"""Only those who manage an organisation's people, and those with a role on one of its contracts, list its people.

Names and addresses are for those whose work is with them: to invite, to remove, to name, to assign seats."""
MAY_NOT_REMOVE_PEOPLE: Final = Rule("may-not-remove-people", 403)
"""Only those who manage an organisation's people remove a person from it."""
FIRST_ACCOUNT_ONLY: Final = Rule("first-account-only", 403)
"""Only the organisation's first account, or the operator, decides who else manages people, and removes those who do."""
ALREADY_A_MEMBER: Final = "already-a-member"
"""An invitation is for somebody who is not in the organisation yet."""
INVITATION_NOT_VALID: Final = "invitation-not-valid"
"""An invitation admits one person, with the invited address, until it expires or is revoked."""
INVITATION_USED: Final = "invitation-used"
"""An invitation that was accepted can't be revoked."""
INVITATION_UNKNOWN: Final = "invitation-unknown"
"""A command names an invitation that exists."""

# ── Sessions and passwords ─────────────────────────────────────────────────────────────────────────────

SIGN_IN_FAILED: Final = Rule("sign-in-failed", 401)
"""Signing in needs the account's address and password. A refusal does not tell which of the two is wrong."""
SESSION_ENDED: Final = Rule("session-ended", 401)
"""A refresh token is valid once, while its session lasts."""
PASSWORD_WRONG: Final = Rule("password-wrong", 403)
"""Changing a password needs the present password."""
PASSWORD_COMMON: Final = Rule("password-common", 422)
"""A password is not among the common ones that attackers try first."""
RESET_NOT_VALID: Final = "reset-not-valid"
"""A password reset is valid once, until it expires."""

# ── Machine accounts ───────────────────────────────────────────────────────────────────────────────────

MACHINE_NOT_YOURS_TO_GIVE: Final = Rule("machine-not-yours-to-give", 403)
"""A machine account gets its scopes and secrets only from a person who may give them."""
MACHINE_ACTS_FOR: Final = "machine-acts-for"
"""A machine account acts for an open account of its own organisation, or for none."""
MACHINE_SCOPES: Final = "machine-scopes"
"""A machine account has at least one scope."""
MACHINE_LIFETIME: Final = "machine-lifetime"
"""A machine account expires within the longest lifetime."""
MACHINE_OVERLAP: Final = "machine-overlap"
"""A replaced secret stays valid for a limited number of days."""
MACHINE_UNKNOWN: Final = "machine-unknown"
"""A command names a machine account that exists."""
MACHINE_REVOKED: Final = "machine-revoked"
"""A revoked machine account stays revoked."""

# ── Webhooks ───────────────────────────────────────────────────────────────────────────────────────────

WEBHOOK_ADDRESS: Final = "webhook-address"
"""A webhook's address is one that this system may send to: by https, on the Internet, without a password."""
WEBHOOK_EVENTS: Final = "webhook-events"
"""A webhook names a topic that exists."""
WEBHOOK_MACHINE: Final = "webhook-machine"
"""A webhook is for the account that registers it, or for a machine account that may read."""
WEBHOOK_LIMIT: Final = "webhook-limit"
"""An account has a limited number of webhooks."""
WEBHOOK_OVERLAP: Final = "webhook-overlap"
"""A replaced secret of a webhook signs for a limited number of days more."""
WEBHOOK_UNKNOWN: Final = "webhook-unknown"
"""A command names a webhook that exists."""
WEBHOOK_ENDED: Final = "webhook-ended"
"""An ended webhook stays ended."""

# ── Sandbox clocks ─────────────────────────────────────────────────────────────────────────────────────

NOT_A_SANDBOX: Final = "not-a-sandbox"
"""Only the clock of a sandbox can be moved. Others follow real time. Source: domain rules, for everyone."""
CLOCK_BACKWARDS: Final = "clock-backwards"
"""A clock is only moved forward."""
CLOCK_TOO_FAR: Final = "clock-too-far"
"""A clock can be a limited time ahead of real time."""

# ── Contracts ──────────────────────────────────────────────────────────────────────────────────────────

NOT_OF_CUSTOMER: Final = "not-of-customer"
"""Roles on a contract are for people of the customer's organisation."""
REQUEST_WAITING: Final = "request-waiting"
"""A person has at most one open request for a role on a contract."""
NO_REQUEST: Final = "no-request"
"""A role can be approved only for a person who has requested one."""
