"""Ids of the rules that more than one service applies.

A rule's id is the stable name that a refusal carries in `rule` and in its type, `/problems/<id>`. It occurs in
the code once: here, or in `services/<name>/domain/rules.py` if only one service applies the rule. The docstring under
each id states the rule. A rule is refused with 409, or with the status that its constant names.
"""

from typing import Final

from shared.rule_status import Rule

# ── Requests ───────────────────────────────────────────────────────────────────────────────────────────

MALFORMED: Final = Rule("malformed", 422)
"""A request has the form that its operation describes. No value is coerced, and no unknown field is ignored."""
MALFORMED_HTTP: Final = Rule("malformed-http", 400)
"""What arrives is an HTTP request."""
UNSUPPORTED_MEDIA_TYPE: Final = Rule("unsupported-media-type", 415)
"""A body is JSON, or a CSV file where the route reads one, in an encoding that the service reads."""
TOO_LARGE: Final = Rule("too-large", 413)
"""A body, and each event of its command, is no larger than allowed."""
HEAD_TOO_LARGE: Final = Rule("head-too-large", 431)
"""The request line and the headers are no larger than the service allows."""
REQUEST_TIMEOUT: Final = Rule("request-timeout", 408)
"""A request arrives within its time limit."""
IDEMPOTENCY_KEY_REUSED: Final = Rule("idempotency-key-reused", 422)
"""An Idempotency-Key is used for one request only."""
VERSION_UNKNOWN: Final = Rule("version-unknown", 422)
"""Tenure-At-Least names a version that the service's own log has."""
VERSION_CHANGED: Final = Rule("version-changed", 412)
"""A command with If-Match or If-None-Match is decided only on a version that these admit."""
POSITION_UNKNOWN: Final = Rule("position-unknown", 422)
"""A subscriber goes on after a position that its topic has come to."""
EVENT_TYPE_UNKNOWN: Final = Rule("event-type-unknown", 422)
"""A subscriber and a webhook ask for event types that their topic has."""
AS_OF_IN_FUTURE: Final = Rule("as-of-in-future", 422)
"""`as_of` names a time that has come for the organisation."""
AS_OF_TOO_EARLY: Final = Rule("as-of-too-early", 404)
"""`as_of` names a time at which the thing existed."""
AS_OF_TOO_LONG: Final = Rule("as-of-too-long", 422)
"""The state as of a time follows from a bounded number of events."""
UNKNOWN: Final = Rule("unknown", 404)
"""The resource exists and the caller may see it. A refusal does not tell which of the two is missing."""

# ── Load and availability ──────────────────────────────────────────────────────────────────────────────

TOO_MANY_REQUESTS: Final = Rule("too-many-requests", 429)
"""A caller sends no more requests than its limit allows. Source: `shared/runtime/limits.py`."""
BUSY: Final = Rule("busy", 503)
"""The process has capacity for the request."""
UNAVAILABLE: Final = Rule("unavailable", 503)
"""The systems that the service depends on can be reached. Otherwise nothing was done, or the outcome is unknown."""
NOT_YET: Final = Rule("not-yet", 503)
"""The read models reach the version that Tenure-At-Least names within two seconds."""
NEWER_EVENT: Final = Rule("newer-event", 503)
"""A process reads only events whose type and schema it knows, and rows of tables that it can read."""
INTERNAL_ERROR: Final = Rule("internal-error", 500)
"""A request does not fail because of a defect of the service. If one does, the log has its correlation id."""

# ── Access ─────────────────────────────────────────────────────────────────────────────────────────────

NOT_SIGNED_IN: Final = Rule("not-signed-in", 401)
"""A request carries a valid token of a session that has not ended."""
SCOPE_MISSING: Final = Rule("scope-missing", 403)
"""A machine account uses only the operations that its scopes name."""
ROLE_MISSING: Final = Rule("role-missing", 403)
"""Administrative work needs a role on the contract. Source: domain rules, identity."""
OPERATOR_ONLY: Final = Rule("operator-only", 403)
"""Only the operator may do some work, such as inviting people of a publisher."""
PUBLISHER_ONLY: Final = Rule("publisher-only", 403)
"""What concerns a publisher is seen and changed by that publisher's people. Source: domain rules, for everyone."""
SEAT_RIGHT_MISSING: Final = Rule("seat-right-missing", 403)
"""A Software Coordinator needs the right to assign seats. Source: domain rules, identity."""
AGREEMENT_MISSING: Final = Rule("agreement-missing", 403)
"""Administrative features need an active desktop or maintenance agreement for a product of the contract.

Seats and auto-renew do not. Source: domain rules, identity."""
FOREIGN_PUBLISHER: Final = Rule("foreign-publisher", 403)
"""A publisher's system acts for its own publisher only. Source: domain rules, marketplace and distribution."""
CONTRACT_UNKNOWN: Final = "contract-unknown"
"""A command names a contract that exists."""

# ── The engine ─────────────────────────────────────────────────────────────────────────────────────────

NAME_TAKEN: Final = "name-taken"
"""At most one stream holds a unique name at a time."""
OPERATION_UNBEGUN: Final = "operation-unbegun"
"""An operator's operation begins before it ends."""
