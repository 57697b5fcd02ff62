"""Ids of the rules that several services refuse by.

A rule's id is the stable name that a refusal carries in `rule` and in its type, `urn:tenure:rule:<id>`. It stands in
the code once: here, or in `services/<name>/domain/rules.py` where one service alone refuses by it. Each docstring says
what the rule demands.
"""

from typing import Final

# ── Requests ───────────────────────────────────────────────────────────────────────────────────────────

MALFORMED: Final = "malformed"
"""A request has the form that its operation describes; nothing is coerced, and nothing unknown is ignored."""
UNSUPPORTED_MEDIA_TYPE: Final = "unsupported-media-type"
"""A body is JSON, in the encoding that the service reads."""
TOO_LARGE: Final = "too-large"
"""A body is no larger than its operation allows."""
HEAD_TOO_LARGE: Final = "head-too-large"
"""The request line and the headers are no larger than the service allows."""
REQUEST_TIMEOUT: Final = "request-timeout"
"""A request arrives within its time limit."""
IDEMPOTENCY_KEY_REUSED: Final = "idempotency-key-reused"
"""An Idempotency-Key names one request."""
VERSION_UNKNOWN: Final = "version-unknown"
"""Tenure-At-Least names a version that the service's own log has."""
UNKNOWN: Final = "unknown"
"""The resource exists, and the caller may see it; the two are not distinguished."""

# ── Load and availability ──────────────────────────────────────────────────────────────────────────────

TOO_MANY_REQUESTS: Final = "too-many-requests"
"""A caller sends no more requests than its limit. Source: `shared/runtime/limits.py`."""
BUSY: Final = "busy"
"""The process has room for the request."""
UNAVAILABLE: Final = "unavailable"
"""What the service depends on can be reached; otherwise the outcome is unknown or nothing was done."""
NOT_YET: Final = "not-yet"
"""A query waits for Tenure-At-Least for two seconds at most."""
NEWER_EVENT: Final = "newer-event"
"""A process reads no event that is newer than itself."""
INTERNAL_ERROR: Final = "internal-error"
"""A defect of the service; its log has the request's correlation id."""

# ── Access ─────────────────────────────────────────────────────────────────────────────────────────────

NOT_SIGNED_IN: Final = "not-signed-in"
"""A request carries a valid token of a session that has not ended."""
SCOPE_MISSING: Final = "scope-missing"
"""A machine account uses only what its scopes name."""
ROLE_MISSING: Final = "role-missing"
"""Administrative work needs a role within the contract. Source: domain rules, identity."""
SEAT_RIGHT_MISSING: Final = "seat-right-missing"
"""A Software Coordinator assigns seats only with the right to do so. Source: domain rules, identity."""
AGREEMENT_MISSING: Final = "agreement-missing"
"""Administrative features open only while a product of the contract is on an active desktop or maintenance agreement.
Source: domain rules, identity."""
FOREIGN_PUBLISHER: Final = "foreign-publisher"
"""A publisher's system speaks for its own publisher only. Source: domain rules, marketplace and distribution."""
CONTRACT_UNKNOWN: Final = "contract-unknown"
"""A command names a contract that exists."""

# ── The engine ─────────────────────────────────────────────────────────────────────────────────────────

NAME_TAKEN: Final = "name-taken"
"""A unique name belongs to one stream at a time."""
OPERATION_UNBEGUN: Final = "operation-unbegun"
"""An operator's operation ends only after it has begun."""
