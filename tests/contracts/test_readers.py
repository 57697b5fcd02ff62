"""Every reader of a topic has an answer to every event of it, and a new event names them all before anything runs."""

import ast
import inspect
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from deploy import ROOT
from services import definitions
from shared.eventlog.deliver import readers
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.readers import Reader, UnansweredEvents, unanswered, unfolded
from shared.eventlog.write.operations import OPERATION
from shared.events import EVENTS, Event, OperationPerformed, SeatAssigned, SeatUnassigned
from shared.events.registry import ENTITLEMENTS, EVENTS_ON, IDENTITY, INBOUND, OUTCOMES, PUBLISHERS_EVENTS, topic_of
from shared.runtime.clocks import CLOCKS
from shared.services import SERVICES
from tests.oracle.expected import EXPECTED
from tests.simulation import system

PRODUCT: Final = {service.name: service for service in definitions()}
READERS: Final[Mapping[str, Reader]] = {
    **{name: reader for service in PRODUCT.values() for name, reader in service.readers.items()},
    **system.READERS,
    **{f"oracle: {consumer}": expected for consumer, expected in EXPECTED.items()},
}
"""Whatever reads a topic: the services, the simulation, the oracle."""
FOLDS: Final = {stream.evolve for service in PRODUCT.values() for stream in (*service.streams, OPERATION)}
CHECKED: Final = ROOT / ".local" / "cache" / "mypy"
OF_ENTITLEMENTS: Final = {
    "identity.notifications",
    "entitlements.pools",
    "entitlements.ledger",
    "entitlements.meetings",
    "entitlements.timers",
    "marketplace.sales",
    "marketplace.process",
    "distribution.availability",
    "distribution.process",
    "simulation: entitlements.pools",
    "oracle: identity.notifications",
    "oracle: entitlements.meetings",
    "oracle: marketplace.process",
    "oracle: distribution.process",
}
"""Who reads of seats."""


class Invented(Event):
    """An event that nobody knows yet."""


def with_invented(topic: str) -> readers.EventsOn:
    return {**EVENTS_ON, topic: (*EVENTS_ON[topic], Invented)}


def named(faults: list[str]) -> set[str]:
    """The readers that lack an answer to the invented event."""
    told = (fault.partition(" neither handles nor ignores Invented ") for fault in faults)
    return {reader for reader, lacks, _ in told if lacks}


def test_every_reader_answers_every_event_of_its_topics() -> None:
    faults = unanswered(READERS)
    assert not faults, "\n".join(("", *faults, readers.REMEDY))


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_streams_fold_all_events_of_its_topic_and_no_other(service: str) -> None:
    faults = unfolded(service, (*PRODUCT[service].streams, OPERATION))
    assert not faults, "\n".join(("", *faults, readers.REMEDY))


@pytest.mark.parametrize("topic", sorted(EVENTS_ON.keys() - {OUTCOMES}))  # which is for those outside
def test_a_new_event_of_a_topic_names_all_of_its_readers_and_nobody_else(topic: str) -> None:
    reading = {name for name, reader in READERS.items() if topic in reader.topics}
    assert reading
    assert named(unanswered(READERS, with_invented(topic))) == reading


def test_a_new_event_of_seats_names_tables_reactions_simulation_and_oracle() -> None:
    faults = [fault for fault in unanswered(READERS, with_invented(ENTITLEMENTS)) if "Invented" in fault]
    assert named(faults) == OF_ENTITLEMENTS
    (sales,) = (fault for fault in faults if fault.startswith("marketplace.sales"))
    assert "services.marketplace.projections" in sales
    assert "held_seats" in sales


@pytest.mark.parametrize("service", SERVICES)
def test_a_new_event_of_a_service_says_that_no_stream_folds_it(service: str) -> None:
    streams = (*PRODUCT[service].streams, OPERATION)
    faults = unfolded(service, streams, with_invented(topic_of(service)))
    assert f"{service}: none of its streams folds Invented" in faults


@pytest.mark.slow
def test_the_type_checker_names_the_fold_of_every_stream_that_gets_a_new_event(tmp_path: Path) -> None:
    folds = {(ROOT / inspect.getfile(evolve)): evolve.__name__ for evolve in FOLDS}
    assert len(folds) == len(FOLDS), "one file a stream"
    shadows = [
        argument
        for number, (file, evolve) in enumerate(folds.items())
        for argument in ("--shadow-file", str(file), str(widened(file, evolve, tmp_path / f"{number}.py")))
    ]
    cache = tmp_path / "cache"
    if CHECKED.exists():  # `make test` has just filled it: of a copy, mypy checks again what is another by the shadows
        shutil.copytree(CHECKED, cache)
    options = ["-n", "0", "--cache-dir", str(cache), "--no-pretty", "--no-error-summary"]
    mypy = [sys.executable, "-m", "mypy", *options, *shadows, *map(str, folds)]
    found = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    at_fault = {ROOT / line.partition(":")[0] for line in found.splitlines() if line.endswith("[arg-type]")}
    assert at_fault == set(folds), found


def widened(file: Path, evolve: str, shadow: Path) -> Path:
    """The file as it would be if the fold's events had one more: one that no stream has."""
    source = file.read_text()
    (function,) = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == evolve
    )
    events = function.args.args[1].annotation
    assert events is not None and events.end_col_offset is not None
    lines = source.splitlines()
    line = lines[events.lineno - 1]
    lines[events.lineno - 1] = f"{line[: events.end_col_offset]} | New{line[events.end_col_offset :]}"
    shadow.write_text("\n".join([*lines, "from shared.events import CreditsPurchased as New", ""]))
    return shadow


def test_a_fold_of_an_event_that_is_not_on_the_topic_is_named() -> None:
    streams = (*PRODUCT["entitlements"].streams, OPERATION)
    without = {**EVENTS_ON, ENTITLEMENTS: tuple(e for e in EVENTS_ON[ENTITLEMENTS] if e is not SeatAssigned)}
    faults = unfolded("entitlements", streams, without)
    assert "entitlements: the stream pool folds SeatAssigned, not on its topic" in faults


def test_a_declaration_that_says_both_or_too_much_is_a_fault() -> None:
    events = {ENTITLEMENTS: (SeatAssigned, SeatUnassigned)}
    both = Projection("both", topics=(ENTITLEMENTS,), ignores=(SeatAssigned, SeatUnassigned))
    both.on(SeatAssigned)(ignore)
    beside = Reactions("beside", topics=(ENTITLEMENTS,), ignores=(SeatAssigned, SeatUnassigned, OperationPerformed))
    assert unanswered({"both": both, "beside": beside}, events) == [
        "both both handles and ignores SeatAssigned",
        "beside handles or ignores OperationPerformed, which is on none of its topics",
    ]


async def ignore(_tx: object, _event: Event, _envelope: object) -> None:
    """A fold that does nothing."""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_does_not_start_with_a_reader_that_lacks_an_answer(service: str) -> None:
    """As `run` asks before anything else."""
    envelope, streams = PRODUCT[service], (*PRODUCT[service].streams, OPERATION)
    readers.check(service, envelope.readers, streams)
    silent = Projection("silent", topics=(IDENTITY,), ignores=EVENTS_ON[IDENTITY][1:])
    with pytest.raises(UnansweredEvents, match=f"{service}.silent neither handles nor ignores AccountOpened"):
        readers.check(service, {**envelope.readers, f"{service}.silent": silent}, streams)
    with pytest.raises(UnansweredEvents, match="none of its streams folds"):
        readers.check(service, envelope.readers, envelope.streams)


def test_every_event_of_the_contract_is_in_a_topics_union() -> None:
    defined = {each for each in Event.__subclasses__() if each.__module__.startswith("shared.events.")}
    assert defined == set(EVENTS.values())


@pytest.mark.parametrize("service", SERVICES)
def test_everything_that_a_process_feeds_is_a_reader(service: str) -> None:
    envelope = PRODUCT[service]
    assert envelope.readers.keys() == {f"{service}.{each.name}" for each in envelope.all_consumers} | {
        f"{service}.endings"
    }
    assert {*envelope.consumers, CLOCKS} <= set(envelope.all_consumers)


def test_the_oracle_knows_all_that_react() -> None:
    reacting = {
        f"{name}.{each.name}": set(each.topics)
        for name, service in PRODUCT.items()
        for each in service.consumers
        if isinstance(each, Reactions)
    }
    assert {name: set(expected.topics) for name, expected in EXPECTED.items()} == reacting


def test_each_record_of_a_publisher_is_answered_by_one_consumer() -> None:
    hearing = [c for s in definitions() for c in s.consumers if isinstance(c, Reactions) and INBOUND in c.topics]
    for name in PUBLISHERS_EVENTS:
        assert sum(name in each.types for each in hearing) == 1, name
    assert sum(each.answers_unreadable for each in hearing) == 1
