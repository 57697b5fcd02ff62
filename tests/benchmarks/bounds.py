"""What bounds the measurements whose goals are not met, as profiles showed it."""

from collections.abc import Mapping
from typing import Final

_APPEND: Final = (
    "one process decides, hashes and answers: 34 to 44 µs of its processor for an event, so a core carries 22,000 to "
    "30,000 events a second whatever the server does. The server takes 27 µs for an event of a batch of 16, of which "
    "the lookups are 3, the chain 2 and command ids 3."
)
_ROUND_TRIPS: Final = (
    "a consumer asks the database five times for a batch (begin, checkpoints with what it is judged by, fold, advance, "
    "commit), the minimal pipeline three times."
)
BOUNDS: Final[Mapping[str, str]] = {
    "append 1": "a command waits for its own commit. The server takes 236 µs, of which lock, parsing and commit alone "
    "are 150; the client decides, checks and hashes meanwhile nothing else. One statement for a batch of one and all "
    "writes in one statement had no effect.",
    "append 64": _APPEND,
    "append 256": _APPEND,
    "consume": "receiving a record (headers, hash, chain) is half of a process's time, planning a sixth; FastStream's "
    "handler looks at nothing.",
    "growth-large": "whole pages in the WAL: a new stream, or a random command id, changes a page of an index that no "
    "append since the last checkpoint has changed (docs/adr/0078).",
    "processes": "appends of several processes take turns at the head's lock with smaller batches, and on shared "
    "streams a process's cached state is out of date after another's append.",
    "web": "470 µs of a command are spread over middleware, token, form, routing, the commit and the answer: asyncpg a "
    "fifth, uvicorn's writing of the answer a tenth, layers between the socket and the route a fifth.",
    "pipeline 100": _ROUND_TRIPS,
    "pipeline 1000": _ROUND_TRIPS,
    "system": "processor: a command costs 34 ms of it at 20/s, 15 at 100/s and 7 to 8 at 400/s, so two cores carry "
    "fewer than 300 commands a second, with the callers on the same cores. At 100/s identity takes 5 ms (half of it "
    "the request), its PostgreSQL 3.0, Kafka 4. Each fetch of a reader costs 0.4 ms for its 24 partitions alone: the "
    "client names all of them in each request and reads all of them in each answer (no incremental fetch sessions). "
    "Half of idling is Kafka's. The largest service has 46 MiB of its own when it "
    "starts, and the rest since requests waited for their turn at 400/s.",
    "repair": "one core of Python. A restore takes 84 µs of it for an event: headers and hash 17, import 12, folds 11, "
    "forgery checks 10, decoding 9, fetching 8, order 7, checkpoints 4; its goal leaves 33 to 42. A rebuild takes 12 "
    "to 18 µs, of which reading and decoding are 9; its goals leave 5 to 11. A table that many statements change one "
    "row of takes PostgreSQL 36 µs an event for the row's versions.",
    "start": "imports, once for all processes, and Kafka's start take two seconds each; each of seven processes takes "
    "half a second of the two cores.",
}
"""By measurement."""
