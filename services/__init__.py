"""The four services. None imports another; they know each other by `shared.events` alone."""

from pathlib import Path


def migrations_of(service: str) -> Path:
    """The folder of the migrations of a service's read models."""
    return Path(__file__).parent / service / "migrations"
