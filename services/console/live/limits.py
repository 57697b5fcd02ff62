"""How much a request with publishers' events may have."""

from typing import Final

EVENT_BYTES: Final = 256 * 1024
BATCH_BYTES: Final = 2 * 1024 * 1024
BATCH_EVENTS: Final = 100
