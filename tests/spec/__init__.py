"""One language for the tests of rules: given what happened, when something comes, then what follows from it."""

from tests.spec.deciders import Outcome, given, refused

__all__ = ["Outcome", "given", "refused"]
