"""How clients reach Kafka: what the environment may say, and that no client is made in another way."""

import ast
from pathlib import Path
from typing import Any

import httpx
import pytest
from faststream.security import SASLScram512

from deploy import ROOT
from services import definition_of
from shared.eventlog.deliver.kafka import VARIABLES, InvalidKafkaSettings, KafkaAccess
from shared.eventlog.deliver.subscribing import connection
from shared.runtime.service import ServiceProcess
from shared.runtime.settings import Settings

FOLDERS = ("shared", "services", "cli", "deploy", "tests")
SOURCES = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
CLIENTS = ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient")
SCRAM = {"KAFKA_BOOTSTRAP": "h:1", "KAFKA_USERNAME": "marketplace", "KAFKA_PASSWORD": "very secret"}


def test_without_settings_it_is_the_plaintext_of_this_machine() -> None:
    assert KafkaAccess.from_environment({}) == KafkaAccess(bootstrap="127.0.0.1:8111", security="plaintext")


@pytest.mark.parametrize("written", ["a:9092,b:9092", " a:9092, b:9092,"])
def test_several_brokers_are_asked_one_after_the_other(written: str) -> None:
    """FastStream takes a text for one broker: with commas in it, its consumers never connected."""
    access = KafkaAccess.from_environment({"KAFKA_BOOTSTRAP": written})
    assert access.servers == access.client()["bootstrap_servers"] == ["a:9092", "b:9092"]
    assert connection(access).specification.url == access.servers


def test_a_user_gets_sasl_and_tls_unless_told_otherwise() -> None:
    access = KafkaAccess.from_environment(SCRAM)
    settings = access.client()
    assert settings["security_protocol"] == "SASL_SSL" and settings["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (settings["sasl_plain_username"], settings["sasl_plain_password"]) == ("marketplace", "very secret")
    assert settings["ssl_context"].check_hostname


def test_sasl_without_tls_has_to_be_asked_for() -> None:
    settings = KafkaAccess.from_environment({**SCRAM, "KAFKA_SECURITY": "sasl_plaintext"}).client()
    assert settings["security_protocol"] == "SASL_PLAINTEXT" and "ssl_context" not in settings


def test_a_password_is_never_shown() -> None:
    assert "very secret" not in repr(KafkaAccess.from_environment(SCRAM))


def test_a_password_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of a file\n")
    env = {"KAFKA_USERNAME": "identity", "KAFKA_PASSWORD_FILE": str(tmp_path / "password")}
    assert KafkaAccess.from_environment(env).password == "of a file"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"KAFKA_SECURITY": "ssl"}, "must be one of plaintext, sasl_plaintext, tls, sasl_tls"),
        ({"KAFKA_SECURITY": "sasl_tls"}, "set KAFKA_USERNAME"),
        ({"KAFKA_USERNAME": "identity"}, "set KAFKA_PASSWORD or KAFKA_PASSWORD_FILE"),
        ({**SCRAM, "KAFKA_SECURITY": "plaintext"}, "has no users"),
        ({**SCRAM, "KAFKA_SECURITY": "tls"}, "has no users"),
        ({"KAFKA_PASSWORD": "p"}, "has no users"),
        ({**SCRAM, "KAFKA_PASSWORD_FILE": "/there"}, "both set"),
        ({"KAFKA_USERNAME": "identity", "KAFKA_PASSWORD_FILE": "/no/such"}, "can't be read (No such file"),
        ({"KAFKA_CA_FILE": "ca.pem"}, "has no certificates"),
        ({**SCRAM, "KAFKA_CA_FILE": "/no/such"}, "holds no certificate"),
        ({**SCRAM, "KAFKA_CA_FILE": __file__}, "holds no certificate"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_a_sentence(env: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidKafkaSettings, match=r"^KAFKA_.*\.$") as refused:
        KafkaAccess.from_environment(env)
    assert says in str(refused.value) and "very secret" not in str(refused.value)


@pytest.mark.parametrize(
    "access",
    [
        KafkaAccess(bootstrap="h:1"),
        KafkaAccess(bootstrap="h:1,i:2", security="tls"),
        KafkaAccess.from_environment(SCRAM),
        KafkaAccess.from_environment({**SCRAM, "KAFKA_SECURITY": "sasl_plaintext"}),
    ],
)
def test_what_it_hands_to_another_process_is_what_that_reads(access: KafkaAccess) -> None:
    assert set(access.environment()) <= set(VARIABLES)
    assert KafkaAccess.from_environment(access.environment()) == access


def test_faststream_and_librdkafka_are_told_the_same() -> None:
    access = KafkaAccess.from_environment(SCRAM)
    security = access.broker_security()
    assert isinstance(security, SASLScram512)
    assert (security.username, security.password, security.use_ssl) == ("marketplace", "very secret", True)
    assert access.librdkafka() == {
        "bootstrap.servers": "h:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "marketplace",
        "sasl.password": "very secret",
    }
    plain = KafkaAccess(bootstrap="h:1").broker_security()
    assert not plain.use_ssl and plain.ssl_context is None


def made_otherwise(text: str) -> list[int]:
    """The lines that make a client of Kafka without a KafkaAccess."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        spread = [ast.unparse(each.value) for each in node.keywords if each.arg is None]
        if called in CLIENTS and not any(each.endswith(".client()") for each in spread):
            found.append(node.lineno)
        if called == "KafkaBroker" and "security" not in [each.arg for each in node.keywords]:
            found.append(node.lineno)
        if called in ("AdminClient", "Producer", "Consumer") and "confluent_kafka" in text:
            given = [ast.unparse(each) for each in node.args]
            found += [node.lineno] if not any("librdkafka()" in each for each in given) else []
    return found


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


# A neighbour is written from the documents only, so it makes its own.
@pytest.mark.parametrize("source", [each for each in SOURCES if "neighbours" not in each.parts], ids=name)
def test_every_client_of_kafka_is_made_of_an_access(source: Path) -> None:
    assert made_otherwise(source.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "AIOKafkaProducer(bootstrap_servers='h:1')",
        "aiokafka.AIOKafkaConsumer('t', **settings)",
        "KafkaBroker('h:1')",
        "AIOKafkaAdminClient()",
        "from confluent_kafka.admin import AdminClient\nAdminClient({'bootstrap.servers': 'h:1'})",
    ],
)
def test_the_check_finds_a_client_that_is_not(text: str) -> None:
    assert made_otherwise(text)


async def test_a_process_with_settings_that_contradict_each_other_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from shared.runtime import service, settings

    monkeypatch.setenv("KAFKA_SECURITY", "sasl_tls")
    monkeypatch.setattr("sys.argv", ["any"])
    settings.settings.cache_clear()
    declared: Any = type("Declared", (), {"name": "marketplace"})
    with pytest.raises(SystemExit, match="KAFKA_SECURITY sasl_tls needs a user"):
        service.run(declared)


@pytest.mark.parametrize(
    ("public", "named"),
    [("", ["inside:9092"]), ("a.example.org:9094, b.example.org:9094", ["a.example.org:9094", "b.example.org:9094"])],
)
async def test_the_document_of_the_topics_names_kafka_as_those_outside_reach_it(
    public: str, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_PUBLIC_KAFKA", public)
    settings = Settings(kafka=KafkaAccess(bootstrap="inside:9092"))
    app = ServiceProcess(service=definition_of("entitlements"), settings=settings).app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://entitlements") as client:
        answer = await client.get("/asyncapi.json")
    assert [server["host"] for server in answer.json()["servers"].values()] == named
