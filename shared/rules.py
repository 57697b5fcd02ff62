"""Ids of the rules that more than one service applies.

A rule's id is the stable name that a refusal carries in `rule` and in its type, `urn:tenure:rule:<id>`. It occurs in
the code once: here, or in `services/<name>/domain/rules.py` if only one service applies the rule. The docstring under
each id states the rule.
"""

from typing import Final

# ── Requests ───────────────────────────────────────────────────────────────────────────────────────────

MALFORMED: Final = "malformed"
"""A request has the form that its operation describes. No value is coerced, and no unknown field is ignored."""
UNSUPPORTED_MEDIA_TYPE: Final = "unsupported-media-type"
"""A body is JSON, in an encoding that the service reads."""
TOO_LARGE: Final = "too-large"
"""A body, and each event of its command, is no larger than allowed."""
HEAD_TOO_LARGE: Final = "head-too-large"
"""The request line and the headers are no larger than the service allows."""
REQUEST_TIMEOUT: Final = "request-timeout"
"""A request arrives within its time limit."""
IDEMPOTENCY_KEY_REUSED: Final = "idempotency-key-reused"
"""An Idempotency-Key is used for one request only."""
VERSION_UNKNOWN: Final = "version-unknown"
"""Tenure-At-Least names a version that the service's own log has."""
UNKNOWN: Final = "unknown"
"""The resource exists and the caller may see it. A refusal does not tell which of the two is missing."""

# ── Load and availability ──────────────────────────────────────────────────────────────────────────────

TOO_MANY_REQUESTS: Final = "too-many-requests"
"""A caller sends no more requests than its limit allows. Source: `shared/runtime/limits.py`."""
BUSY: Final = "busy"
"""The process has capacity for the request."""
UNAVAILABLE: Final = "unavailable"
"""The systems that the service depends on can be reached. Otherwise nothing was done, or the outcome is unknown."""
NOT_YET: Final = "not-yet"
"""The read models reach the version that Tenure-At-Least names within two seconds."""
NEWER_EVENT: Final = "newer-event"
"""A process reads only events whose type and schema it knows, and rows of tables that it can read."""
INTERNAL_ERROR: Final = "internal-error"
"""A request does not fail because of a defect of the service. If one does, the log has its correlation id."""

# ── Access ─────────────────────────────────────────────────────────────────────────────────────────────

NOT_SIGNED_IN: Final = "not-signed-in"
"""A request carries a valid token of a session that has not ended."""
SCOPE_MISSING: Final = "scope-missing"
"""A machine account uses only the operations that its scopes name."""
ROLE_MISSING: Final = "role-missing"
"""Administrative work needs a role on the contract. Source: domain rules, identity."""
SEAT_RIGHT_MISSING: Final = "seat-right-missing"
"""A Software Coordinator needs the right to assign seats. Source: domain rules, identity."""
AGREEMENT_MISSING: Final = "agreement-missing"
"""Administrative features need an active desktop or maintenance agreement for a product of the contract.

Source: domain rules, identity."""
FOREIGN_PUBLISHER: Final = "foreign-publisher"
"""A publisher's system acts for its own publisher only. Source: domain rules, marketplace and distribution."""
CONTRACT_UNKNOWN: Final = "contract-unknown"
"""A command names a contract that exists."""

# ── The engine ─────────────────────────────────────────────────────────────────────────────────────────

NAME_TAKEN: Final = "name-taken"
"""At most one stream holds a unique name at a time."""
OPERATION_UNBEGUN: Final = "operation-unbegun"
"""An operator's operation begins before it ends."""
