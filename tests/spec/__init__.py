"""One language for the tests of rules: given what happened, when something comes, then what follows from it.

- A decider: `given(STREAM, *events).when(command)`, then `.then(*events)`, `.then_nothing()`, `.then_refused(rule,
  because=[...])`.
- A reaction: `given_service(name, now).when(REACTIONS, event)`; a timer: `.when_due(name, key, at)`; then as above, or
  `.then_dispatched(*commands)`.
- A projection: `given_tables(PROJECTION, pool, now)`, `.when(event)`, `.then_rows(query, *rows)`.
- A route: a function under `@sends` is what a test calls `when`; then `.then(*event types)`, `.then_ok()`,
  `.then_nothing()`, `.then_refused(rule)`, with the rule's status.
"""

from tests.spec.deciders import Outcome, given, refused
from tests.spec.projections import given_tables
from tests.spec.routes import PendingRequest, sends
from tests.spec.services import Reaction, Service, given_service

__all__ = [
    "Outcome",
    "PendingRequest",
    "Reaction",
    "Service",
    "given",
    "given_service",
    "given_tables",
    "refused",
    "sends",
]
