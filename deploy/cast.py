"""The example's publisher and people.

This module imports only the standard library: `make up` shows them while the services are still importing theirs.
"""

from typing import Final, NamedTuple

PUBLISHER: Final = "autodesk"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # example people have no secrets


class Role(NamedTuple):
    """An example person, and what they are for."""

    name: str
    email: str
    role: str


CUSTOMER: Final = Role("Oskar Lindqvist", "oskar@northhaus.example", "customer, Contract Manager")
PARTNER: Final = Role("Clara Reyes", "clara@cadworks.example", "partner")
OPERATOR: Final = Role("Priya Raman", "priya@tenure.example", "operator")
PUBLISHERS: Final = Role("Jonas Weber", "jonas@autodesk.example", "publisher")
SIGN_INS: Final = (CUSTOMER, PARTNER, PUBLISHERS, OPERATOR)
"""Who `make up` says can sign in."""
COORDINATOR: Final = Role("Mina Okafor", "mina@northhaus.example", "customer, Software Coordinator")
USERS: Final = (
    Role("Ana Duarte", "ana@northhaus.example", "customer, user"),
    Role("Ben Castellan", "ben@northhaus.example", "customer, user"),
    Role("Chiyo Tanaka", "chiyo@northhaus.example", "customer, user"),
)
