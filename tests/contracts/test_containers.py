"""What the image, the compose file and the READMEs have to say alike; the containers themselves are run by .ci/run."""

import re
from difflib import ndiff
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cli.context import ADDRESS_VARIABLES
from deploy import ROOT, compose, declaration
from deploy.broker import SETTINGS
from deploy.secrets import COMPOSE_NAMES
from shared.runtime.providers import read_providers
from shared.runtime.settings import Settings
from shared.services import DECLARED, EDGES, SERVICES, ServiceDeclaration

COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def section(name: str) -> str:
    """Of the compose file: a service, or one of the parts that they share, without its comments."""
    found = re.search(rf"^( *){name}:.*\n((?:\1 +.*\n|\n)+)", COMPOSE, re.MULTILINE)
    assert found, name
    return re.sub(r" +#.*", "", found[2])


def test_anchors_lie_in_a_volume_that_services_may_write_to() -> None:
    (folder,) = re.findall(r"TENURE_ANCHORS: (\S+)", section("x-parts"))
    made = re.search(r"install --directory --owner=(\d+) --group=\1 (/image\S+ )*/image(\S+) ", DOCKERFILE)
    assert made and made[3] == folder
    assert f"\nUSER {made[1]}:{made[1]}\n" in DOCKERFILE and f"'tenure:x:{made[1]}:" in DOCKERFILE
    mount = f"anchors:{folder}"
    assert mount in section("x-service") and mount in section("tenure")
    assert re.search(r"^volumes:\n(  .*\n)*  anchors:\n", COMPOSE, re.MULTILINE)
    assert "read_only: true" in section("x-process")


def test_the_operators_command_finds_the_system_and_who_asks() -> None:
    """It is run by name, and `up` leaves it out."""
    command = section("tenure")
    assert "entrypoint: [python, -m, cli]" in command and "profiles: [operator]" in command
    for passed_on in ("TENURE_ACTOR", "TENURE_TOKEN"):
        assert re.search(rf"^ +{passed_on}: *$", command, re.MULTILINE), passed_on
        assert passed_on not in section("x-parts"), "nobody else's"
    assert "<<: *operator" in command and "<<: *parts" in section("x-operator")
    named = set(ADDRESS_VARIABLES) - {"KAFKA_SASL_MECHANISM", "KAFKA_PASSWORD"}  # the default, and a file instead
    assert {name for name in named if f"{name}: " not in section("x-parts") + section("x-operator")} == set()
    assert "docker compose run --rm tenure " in (ROOT / "cli" / "README.md").read_text()


ANOTHER = ServiceDeclaration(name="another", port=8107, reads=("identity",))


def test_the_compose_file_has_every_declared_service() -> None:
    assert list(compose.differing(COMPOSE)) == []
    assert compose.completed(COMPOSE) == COMPOSE


def test_a_service_that_is_declared_anew_is_added_after_the_others() -> None:
    more = (*DECLARED, ANOTHER)
    assert len([*compose.differing(COMPOSE, more)]) > len(compose.LINES)
    made = compose.completed(COMPOSE, more)
    assert list(compose.differing(made, more)) == []
    assert not [line for line in ndiff(COMPOSE.splitlines(), made.splitlines()) if line.startswith("- ")]


def test_a_port_that_differs_from_the_declared_one_is_named() -> None:
    changed = COMPOSE.replace('TENURE_PORT: "8103"', 'TENURE_PORT: "8113"')
    assert list(compose.differing(changed)) == ['      TENURE_PORT: "8103"']


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_password_of_its_own_role_and_no_other(service: str) -> None:
    own = section(service)
    assert f"DATABASE_URL: postgresql://tenure_{service}@postgres:5432\n" in own
    assert f"DATABASE_PASSWORD_FILE: /run/secrets/postgres-{service}\n" in own
    assert set(re.findall(r"postgres-[a-z]+", own)) == {f"postgres-{service}"}
    assert "DATABASE_URL" not in section("x-parts") + section("x-service")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_its_own_user_of_kafka_and_no_other(service: str) -> None:
    own = section(service)
    assert f"KAFKA_USERNAME: {service}\n" in own and f"KAFKA_PASSWORD_FILE: /run/secrets/kafka-{service}\n" in own
    assert set(re.findall(r"kafka-[a-z-]+", own)) == {f"kafka-{service}"}
    assert "KAFKA_SECURITY: sasl_tls" in section("x-parts")


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_has_the_key_of_its_cookies_and_its_own_user_of_kafka_and_no_database(edge: str) -> None:
    own = section(edge)
    assert f"secrets: [cookies-{edge}, kafka-{edge}]" in own and "anchors" not in own
    assert f"KAFKA_USERNAME: {edge}\n" in own and set(re.findall(r"kafka-[a-z-]+", own)) == {f"kafka-{edge}"}
    assert not re.search("DATABASE|postgres-", own)


def test_services_trust_the_address_of_the_console_and_no_other() -> None:
    """The console has that address, and no other container can get it."""
    (trusted,) = re.findall(r"TENURE_TRUSTED_PROXIES: (\S+)", section("x-parts"))
    console = section("console")
    assert f'ipv4_address: "{trusted}"' in console and COMPOSE.count("ipv4_address") == 1
    (of_the_console,) = re.findall(r"TENURE_TRUSTED_PROXIES: (\S+)", console)
    assert of_the_console == "${CONSOLE_PROXIES:-}"
    assert not [service for service in SERVICES if "TENURE_TRUSTED_PROXIES" in section(service)]
    network = plain(COMPOSE.partition("\nnetworks:\n")[2])
    subnet, gateway, others = (re.findall(rf"{name}: (\S+)", network)[0] for name in ("subnet", "gateway", "ip_range"))
    address = ip_address(plain(trusted))
    assert address in ip_network(subnet) and address not in ip_network(others)
    assert address != ip_address(gateway), "the host's: what comes by a published port"


def test_identity_and_the_console_read_one_file_of_providers_which_is_none_by_default() -> None:
    """The console alone has its secrets at the providers."""
    (mount,) = re.findall(r'^x-providers: &providers "(.+)"$', COMPOSE, re.MULTILINE)
    source, target, mode = plain(mount).split(":")
    assert read_providers(Path(source)) == {} and mode == "ro"
    variable = f"{Settings.model_config['env_prefix']}OIDC_PROVIDERS_FILE"
    assert variable.removeprefix("TENURE_").lower() in Settings.model_fields
    readers = {name for name in (*SERVICES, *EDGES) if "*providers" in section(name)}
    told = {name for name in (*SERVICES, *EDGES) if f"{variable}: {target}\n" in section(name)}
    assert readers == told == {"identity", "console"}
    assert COMPOSE.count("*providers") == COMPOSE.count(variable) == len(readers)
    described = (ROOT / "services" / "console" / "README.md").read_text()
    for named in ("OIDC_PROVIDERS", "OIDC_SECRETS"):
        assert f"${{{named}:-/dev/null}}" in COMPOSE and f"`{named}`" in described
    assert COMPOSE.count("OIDC_SECRETS:-") == section("console").count("OIDC_SECRETS:-") == 1


def plain(text: str) -> str:
    """The text with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_kafkas_settings_in_containers_are_those_of_the_local_one() -> None:
    written = section("kafka")
    for name, value in SETTINGS.items():
        if name not in ("listener.security.protocol.map", "inter.broker.listener.name"):
            said = re.search(rf"^ *KAFKA_{name.upper().replace('.', '_')}: (.*)$", written, re.MULTILINE)
            assert said and said[1].strip('"') == value, name
    assert "INSIDE:SASL_SSL,HOST:SASL_SSL,CONTROLLER:SASL_SSL,HEALTH:SASL_PLAINTEXT" in written
    assert "CONTROLLER://${KAFKA_CONTROLLER_ADDRESS-localhost}:" in written and "HEALTH://127.0.0.1:" in written


def test_every_user_of_kafka_has_a_secret_of_the_containers() -> None:
    needed = {f"kafka-{user}" for user in declaration.read().users}
    assert needed <= set(COMPOSE_NAMES) and needed <= set(re.findall(r"kafka-[a-z-]+", section("topics")))


def test_every_secret_of_the_containers_is_made() -> None:
    declared = re.findall(r"^  (\S+): \{file: ", COMPOSE.partition("\nsecrets:\n")[2], re.MULTILINE)
    assert set(declared) == set(COMPOSE_NAMES)
