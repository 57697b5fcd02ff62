"""The parts of a process that its routes use: settings, log, database, clocks and limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.notices import CheckpointNotices
from shared.eventlog.write.log import Log, utc_now
from shared.organisations import is_sandbox
from shared.runtime.auth import TokenVerifier
from shared.runtime.database import Pool
from shared.runtime.figures import Figures
from shared.runtime.freshness import Freshness
from shared.runtime.limits import Limits
from shared.runtime.live.positions import KafkaHeads, TopicHeads
from shared.runtime.metrics import Metrics
from shared.runtime.names import IdentityNameBook, NameBook
from shared.runtime.people import AddressBook, IdentityAddressBook
from shared.runtime.problems import Problem, unavailable
from shared.runtime.settings import Settings
from shared.tracing import Tracer


@dataclass(kw_only=True, slots=True)
class Parts:
    """The parts of a process that its routes use, set while the process starts."""

    service: str
    settings: Settings
    metrics: Metrics
    verifier: TokenVerifier
    new_id: Callable[[], str]
    now: Callable[[], datetime] = utc_now
    own_projections: Sequence[str] = ()
    own_categories: Sequence[str] = ()
    """The categories of the service's own streams."""
    sources: Sequence[Path] = ()
    """The folders of the service's own code, for the pages about its rules."""
    waiting_for: Callable[[], dict[str, str]] = field(default=lambda: {"start": "starting"})
    """Why the process is not ready, by part; empty if it is."""
    figures: Figures | None = None
    """The figures that /ready shows."""
    tracer: Tracer | None = None
    opened_log: Log | None = None
    opened_db: Pool | None = None
    clocks: Clocks = field(init=False)
    limits: Limits = field(init=False)
    notices: CheckpointNotices = field(init=False)
    freshness: Freshness = field(init=False)
    address_book: AddressBook = field(init=False)
    name_book: NameBook = field(init=False)
    topic_heads: TopicHeads = field(init=False)

    def __post_init__(self) -> None:
        self.clocks = Clocks(self.now)
        self.limits = Limits(self.settings.limits, refused=self.metrics.limited)
        self.notices = CheckpointNotices()
        self.freshness = Freshness(
            lambda: self.db,
            self.own_projections,
            self.own_categories,
            self.notices,
            refused=self.metrics.limited,
        )
        self.address_book = IdentityAddressBook(self.settings.url_of("identity"))
        self.name_book = IdentityNameBook(self.settings.url_of("identity"))
        self.topic_heads = KafkaHeads(self.settings.kafka)

    def is_sandbox(self, organisation_id: str) -> bool:
        """Return whether the organisation is a sandbox.

        One from before its id said so is recognised once its clock was moved.
        """
        return is_sandbox(organisation_id) or self.clocks.ahead_s(organisation_id) > 0

    @property
    def log(self) -> Log:
        """The service's log. Raises Problem 503 until the database is open; so does `db`."""
        if self.opened_log is None:
            raise _starting()
        return self.opened_log

    @property
    def db(self) -> Pool:
        if self.opened_db is None:
            raise _starting()
        return self.opened_db


def _starting() -> Problem:
    return unavailable("The service is starting and is waiting for its database.", "Send it again in a moment.", 1)
