"""A client of Tenure: commands, events in and events out, over HTTP.

It blocks; asynchronous programs run it in a thread.
"""

from tenure_client.answers import (
    Answer,
    BulkAnswer,
    HistoryGone,
    Options,
    Outcome,
    Received,
    Refused,
    Sent,
    StoredEvent,
    Unavailable,
)
from tenure_client.client import Addresses, Tenure
from tenure_client.credentials import Credentials, Machine, Person, Token

__all__ = [
    "Addresses",
    "Answer",
    "BulkAnswer",
    "Credentials",
    "HistoryGone",
    "Machine",
    "Options",
    "Outcome",
    "Person",
    "Received",
    "Refused",
    "Sent",
    "StoredEvent",
    "Tenure",
    "Token",
    "Unavailable",
]
