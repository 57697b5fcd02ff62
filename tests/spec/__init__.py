"""One language for the tests of rules: given what happened, when something comes, then what follows from it."""

from tests.spec.deciders import Outcome, given, refused
from tests.spec.services import Service, given_service

__all__ = ["Outcome", "Service", "given", "given_service", "refused"]
