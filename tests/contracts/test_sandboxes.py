"""Every event of a sandbox says so, in every service; an event of a live organisation never does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import definitions
from shared.eventlog.decision import Stream, no_claims
from shared.eventlog.deliver.readers import folded
from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.events.base import Event
from shared.events.envelope import SANDBOX_MARK, Unreadable, chained, from_headers, to_headers
from shared.organisations import is_founder, is_sandbox, organisation_of
from tests.contracts.golden import sample
from tests.examples.engine import meta
from tests.examples.organisation import FOUNDER_ID, ORG

SANDBOX = organisation_of(FOUNDER_ID, sandbox=True)
OWNED_BY = ("organisation_id", "customer", "partner")
PUBLISHERS = {"plan", "update", "line"}
"""The streams that belong to a publisher, which is never a sandbox."""
STREAMS = [(service.name, stream) for service in definitions() for stream in service.streams]


class InTheClear:
    """A sealer that keeps personal fields as they are."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        return events

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return events


def of(organisation: str, kind: type[Event]) -> Event:
    event: Event = sample(kind)
    return event.model_copy(update={name: organisation for name in OWNED_BY if name in kind.model_fields})


async def marks(service: str, stream: Stream[Any, Any, Any], organisation: str) -> list[bool]:
    """Whether each event of one stream is marked on the topic, for each event that can begin it."""
    events = [of(organisation, kind) for kind in folded(stream)]
    anything = replace(stream, evolve=lambda state, _: state, decide=lambda command, _: command)
    anything = replace(anything, claims=no_claims)
    found = []
    for first in events:
        if stream.tenant(first):
            store = MemoryStore()
            await Log(store, service, sealer=InTheClear()).execute(anything, "one", (first, *events), meta())
            found += [SANDBOX_MARK in event.headers() for event in store.events]
    return found


@pytest.mark.parametrize(("service", "stream"), STREAMS, ids=lambda each: getattr(each, "category", each))
async def test_every_event_of_a_sandboxs_stream_is_marked(service: str, stream: Stream[Any, Any, Any]) -> None:
    found = await marks(service, stream, SANDBOX)
    assert found and set(found) == {stream.category not in PUBLISHERS}


@pytest.mark.parametrize(("service", "stream"), STREAMS, ids=lambda each: getattr(each, "category", each))
async def test_no_event_of_a_live_organisations_stream_is_marked(service: str, stream: Stream[Any, Any, Any]) -> None:
    assert not any(await marks(service, stream, ORG))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_only_an_id_that_identity_made_for_a_sandbox_is_one(text: str) -> None:
    assert not is_sandbox(text) and not is_sandbox(f"sandbox-{text}")


@given(st.uuids())
def test_a_sandbox_is_recognised_by_its_id_and_has_a_founder(account: Any) -> None:
    for sandbox in (True, False):
        organisation = organisation_of(str(account), sandbox=sandbox)
        assert is_sandbox(organisation) is sandbox and is_founder(str(account), organisation)
    assert not is_founder(str(account), SANDBOX) or str(account) == FOUNDER_ID


async def test_the_mark_follows_from_what_is_hashed_and_cannot_be_forged() -> None:
    stream = next(stream for _, stream in STREAMS if stream.category == "pool")
    begun = next(event for kind in folded(stream) if stream.tenant(event := of(SANDBOX, kind)))
    store = MemoryStore()
    anything = replace(stream, evolve=lambda state, _: state, decide=lambda command, _: (command,))
    await Log(store, "entitlements").execute(anything, "one", begun, meta())
    (stored,) = store.events
    assert from_headers(stored.headers(), None) == stored.envelope and stored.envelope.sandbox
    live = stored.envelope._replace(tenant=ORG)
    assert chained(live, stored.data) != stored.envelope.hash, "the tenant is hashed"
    for headers in (
        [*to_headers(live), SANDBOX_MARK],
        [each if each != SANDBOX_MARK else ("ce_sandbox", b"false") for each in stored.headers()],
    ):
        with pytest.raises(Unreadable, match="attribute sandbox"):
            from_headers(headers, None)


async def test_a_record_from_before_the_mark_is_read_as_it_was() -> None:
    """A relay that does not know the mark may have published a sandbox's event."""
    stream = next(stream for _, stream in STREAMS if stream.category == "clock")
    store = MemoryStore()
    anything = replace(stream, decide=lambda command, _: (command,))
    await Log(store, "identity").execute(anything, "one", of(SANDBOX, folded(stream)[0]), meta())
    (stored,) = store.events
    unmarked = [each for each in stored.headers() if each != SANDBOX_MARK]
    assert from_headers(unmarked, None) == stored.envelope
