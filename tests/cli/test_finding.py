"""Streams that are found by what an operator knows of them, and parts of long ones."""

import pytest

from services.identity.domain.account import claims_of
from shared.events import AccountOpened
from tests.cli.conftest import Tenure
from tests.cli.shown import VERB_SHAPES
from tests.cli.stores import Stores, append, csn, fetch
from tests.contracts.golden import sample
from tests.examples.engine import new_id

pytestmark = pytest.mark.system

ORGANISATION = "5f0c1d1e-0000-5000-8000-000000000001"
ACCOUNT = "5f0c1d1e-0000-5000-8000-00000000000a"


@pytest.fixture
def customer(stores: Stores) -> str:
    """A customer with an account, a contract, a subscription of a plan, its pool and a rollout."""
    marketplace, identity = stores["marketplace"], stores["identity"]
    fetch(
        marketplace,
        "insert into organisations (organisation_id, name, since) values "
        f"('{ORGANISATION}', 'Northhaus', now()), ('other', 'Northhaus Two', now())",
    )
    fetch(
        marketplace,
        "insert into people (account_id, organisation_id, organisation_name, organisation_kind, country, time_zone, "
        f"opened_at, closed, event_id) values ('{ACCOUNT}', '{ORGANISATION}', 'Northhaus', 'customer', 'DE', 'UTC', "
        "now(), false, 'e')",
    )
    fetch(
        marketplace,
        "insert into subscriptions (subscription_id, cart_id, contract_id, partner, customer, purchaser, ordered_by, "
        "status, plan, seats, total_amount, currency, starts, order_event, product_id) values "
        f"('s-1', 'c', 'k-1', 'p', '{ORGANISATION}', '', '', 'confirmed', '{{}}', 1, 1, 'EUR', now(), 'e', "
        "'C1RK1WW1762L158')",
    )
    fetch(
        identity,
        "insert into contracts (contract_id, customer, publisher, programme) "
        f"values ('k-1', '{ORGANISATION}', 'p', 'q')",
    )
    fetch(identity, f"insert into log.claims values ('{claims_of('mina@northhaus.example')[0]}', 'account-{ACCOUNT}')")
    fetch(
        stores["distribution"],
        "insert into rollouts (rollout_id, contract_id, publisher, update_id, version, groups, phases, status, phase, "
        "started_by, event_id) values ('r-1', 'k-1', 'p', 'u', '1', '{}', '[]', 'running', 0, '', 'e')",
    )
    append(identity, "identity", f"account-{ACCOUNT}", sample(AccountOpened))
    append(identity, "identity", "contract-k-1", csn(1))
    append(marketplace, "marketplace", "subscription-s-1", csn(1), csn(2))
    append(stores["entitlements"], "entitlements", "pool-s-1", csn(1))
    append(stores["distribution"], "distribution", "rollout-r-1", csn(1))
    return ORGANISATION


def found(tenure: Tenure, text: str) -> list[str]:
    return [each["stream"] for each in tenure("stream", "find", text, "--json").json["streams"]]


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize("text", [ORGANISATION, "northhaus", "Mina@Northhaus.example", ACCOUNT])
def test_a_customers_streams_are_found_by_its_id_name_and_peoples_addresses(tenure: Tenure, text: str) -> None:
    streams = ["rollout-r-1", "pool-s-1", "subscription-s-1", "contract-k-1", f"account-{ACCOUNT}"]
    assert found(tenure, text) == (streams if text != ACCOUNT else streams[-1:])


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("now", ("--over", "0.1")),
        ("restore status", ("--over", "0.1")),
        ("stream find", ("northhaus",)),
        ("stream show", ("subscription-s-1", "--last", "2")),
        ("why", ("door:1",)),
    ],
)
def test_the_pages_read_the_result_of_the_verb(
    tenure: Tenure, stores: Stores, verb: str, arguments: tuple[str, ...]
) -> None:
    append(stores["marketplace"], "marketplace", "subscription-s-1", csn(5), cause="door:1", about="it")
    found = VERB_SHAPES[verb].model_validate_json(tenure(*verb.split(), *arguments, "--json").out)
    for each in found.model_fields_set & {"events", "streams", "services"}:
        assert getattr(found, each), each


def test_of_several_organisations_those_are_shown(tenure: Tenure, customer: str) -> None:
    said = tenure("stream", "find", "north", "--json").json
    assert [each["name"] for each in said["organisations"]] == ["Northhaus", "Northhaus Two"] and said["streams"] == []
    assert customer in tenure("stream", "find", "north").out


@pytest.mark.usefixtures("customer")
def test_a_stream_is_found_by_its_id_key_event_and_product_id(tenure: Tenure, stores: Stores) -> None:
    assert found(tenure, "subscription-s-1") == ["subscription-s-1"]
    assert found(tenure, "s-1") == found(tenure, "C1RK1-WW1762-L158") == ["pool-s-1", "subscription-s-1"]
    (event,) = append(stores["marketplace"], "marketplace", "subscription-s-2", csn(3))
    said = tenure("stream", "find", event, "--json").json
    assert (said["event"]["id"], said["event"]["version"]) == (event, 1)
    assert [each["stream"] for each in said["streams"]] == ["subscription-s-2"]
    assert "1 stream found, of 2." in tenure("stream", "find", "s-1", "--limit", "1").out


@pytest.mark.usefixtures("customer")
def test_what_nobody_has_is_found_nowhere(tenure: Tenure) -> None:
    for text in ("nothing", "nobody@northhaus.example", new_id(), "%", "x' or 'x'='x"):
        assert found(tenure, text) == [], text
    assert tenure("stream", "find", " ").code == tenure("stream", "find", "a\nb").code == 2


def test_the_last_events_of_a_long_stream_say_what_they_changed(tenure: Tenure, stores: Stores) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", *(csn(n) for n in range(5)))
    whole = tenure("stream", "show", "partner-1", "--json").json
    part = tenure("stream", "show", "partner-1", "--version", "4", "--last", "2", "--json").json
    assert (part["looked_at"], part["before"], part["chain"]) == (5, 2, "whole")
    assert [each["version"] for each in part["events"]] == [3, 4]
    assert [each["changed"] for each in part["events"]] == [each["changed"] for each in whole["events"][2:4]]
    assert part["events"][1]["state"] == whole["events"][3]["state"] and "state" not in part["events"][0]
    (change,) = (each for each in part["events"][1]["changed"] if each["field"].endswith(".csn"))
    assert (change["after"], change["before"], change["added"], change["removed"]) == ("3", None, True, False)
    said = tenure("stream", "show", "partner-1", "--last", "1").out
    assert "5 events read from marketplace's store, 1 of them shown; the hash chain is intact." in said
