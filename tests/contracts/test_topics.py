"""What is declared of topics, users and rights, against what the services' consumers read."""

from pathlib import Path

import pytest

from deploy import OperatorError, declaration
from deploy.declaration import Grant, publisher_grants
from services import definitions
from shared.eventlog.repair.anchors import FORMER, topic_of_anchors
from shared.events.registry import ANSWERING, INBOUND, OUTCOMES, inbound_topic, is_inbound, outcomes_topic, topic_of
from shared.runtime.service import Service
from tests.system.rest import readers

SERVICES = definitions()
PAGE = declaration.read()


def granted(user: str, operation: str, resource: str = "topic") -> set[str]:
    return {
        each.name + "*" * each.prefixed
        for each in PAGE.grants
        if (each.user, each.operation, each.resource) == (user, operation, resource)
    }


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_reads_what_its_consumers_read_and_its_own_topic(service: Service) -> None:
    read = {topic for topics in readers([service]).values() for topic in topics} | {topic_of(service.name)}
    assert granted(service.name, "read") == {f"{topic}*" if topic == INBOUND else topic for topic in read}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_writes_its_own_topic_and_its_anchors_in_groups_of_its_own(service: Service) -> None:
    answers = {f"{OUTCOMES}*"} if service.name in ANSWERING else set()
    assert granted(service.name, "write") == {topic_of(service.name), topic_of_anchors(service.name), *answers}
    assert granted(service.name, "read", "group") == {f"{service.name}.*"}


def test_each_service_has_a_topic_of_anchors_that_nobody_else_writes() -> None:
    declared = {topic.name for topic in PAGE.topics}
    for service in SERVICES:
        mine = topic_of_anchors(service.name)
        assert mine in declared
        assert {each.user for each in PAGE.grants if (each.operation, each.name) == ("write", mine)} == {service.name}


def test_the_topic_of_all_anchors_is_neither_made_nor_granted() -> None:
    assert list(PAGE.former) == [FORMER]
    assert FORMER not in {topic.name for topic in PAGE.topics}
    assert [each for each in PAGE.grants if each.name == FORMER] == []


def test_a_publisher_writes_its_own_topic_reads_its_outcomes_and_nothing_else() -> None:
    for publisher in PAGE.publishers:
        mine = {each for each in PAGE.grants if each.user == f"publisher-{publisher}"}
        assert mine == publisher_grants(publisher)
    assert {(each.operation, each.name, each.prefixed) for each in publisher_grants("rival")} == {
        ("write", inbound_topic("rival"), False),
        ("read", outcomes_topic("rival"), False),
        ("read", "publisher-rival.", True),
    }


def test_outcomes_are_read_by_their_publisher_the_console_and_those_who_read_everything() -> None:
    reading = {
        each.user
        for each in PAGE.grants
        if each.operation == "read" and each.resource == "topic"
        if (
            outcomes_topic("autodesk").startswith(each.name)
            and (each.prefixed or each.name == outcomes_topic("autodesk"))
        )
        or each.name == "*"
    }
    assert reading == {"publisher-autodesk", "console", "operator", "viewer"}


def test_whoever_answers_publishers_has_a_consumer_that_does() -> None:
    assert {s.name for s in SERVICES if any(INBOUND in each.topics for each in s.consumers)} == {*ANSWERING}


def test_only_services_the_operator_publishers_and_the_console_write_anything() -> None:
    writing = {each.user for each in PAGE.grants if each.operation == "write"}
    publishers = {f"publisher-{name}" for name in PAGE.publishers}
    assert writing == {*(s.name for s in SERVICES), "operator", "console", *publishers}
    assert granted("console", "write") == {f"{INBOUND}*"}


def test_every_declared_publisher_has_a_topic_of_the_family() -> None:
    topics = {topic.name: topic for topic in PAGE.topics}
    for publisher in PAGE.publishers:
        assert is_inbound(inbound_topic(publisher)) and topics[inbound_topic(publisher)].config["retention.ms"] == "-1"
        assert topics[outcomes_topic(publisher)].partitions == 1, "an outcome's offset is its position"


def test_no_topic_makes_the_broker_unpack_what_is_sent() -> None:
    """450 MiB of zeros are 15 KB of zstd: a broker with 512 MB that packs them anew runs out of memory, and ends."""
    assert [topic.name for topic in PAGE.topics if "compression.type" in topic.config] == []


def test_a_name_that_ends_in_a_star_stands_for_all_that_begin_so(tmp_path: Path) -> None:
    (tmp_path / "page").write_text('[users.one]\nreads = ["a.*", "b", "*"]\ngroups = ["g.*"]\n')
    assert declaration.read(tmp_path / "page").grants == {
        Grant(user="one", operation="read", resource="topic", name="a.", prefixed=True),
        Grant(user="one", operation="read", resource="topic", name="b"),
        Grant(user="one", operation="read", resource="topic", name="*"),
        Grant(user="one", operation="read", resource="group", name="g.", prefixed=True),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[user.one]\n", "an unknown table 'user'"),
        ('[users.one]\nwrite = ["a"]\n', "has an unknown key 'write'"),
        ('[users.admin]\nreads = ["*"]\n', "the broker's administrator"),
    ],
)
def test_a_page_that_says_something_unknown_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "page").write_text(text)
    with pytest.raises(OperatorError, match=says):
        declaration.read(tmp_path / "page")
