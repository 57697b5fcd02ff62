"""The connection to Kafka: its address, the client's identity, and its protection.

Every client in the project is created from a `KafkaAccess`, so that all are protected alike. It is read from the
environment:

    KAFKA_BOOTSTRAP      host:port, several separated by commas
    KAFKA_SECURITY       plaintext, sasl_plaintext, tls or sasl_tls; unset: sasl_tls with a KAFKA_USERNAME, or plaintext
    KAFKA_USERNAME       the principal
    KAFKA_SASL_MECHANISM SCRAM-SHA-512, which is the default, or PLAIN, which the broker's administrator uses
    KAFKA_PASSWORD       or KAFKA_PASSWORD_FILE, whose text it is
    KAFKA_CA_FILE        PEM certificates that verify the broker's certificate; unset: those of the system
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self, cast, get_args

from faststream.security import BaseSecurity, SASLPlaintext, SASLScram512

Security = Literal["plaintext", "sasl_plaintext", "tls", "sasl_tls"]
Mechanism = Literal["SCRAM-SHA-512", "PLAIN"]
DEFAULT_BOOTSTRAP: Final = "127.0.0.1:8111"
VARIABLES: Final = (
    "KAFKA_BOOTSTRAP",
    "KAFKA_SECURITY",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_USERNAME",
    "KAFKA_PASSWORD",
    "KAFKA_PASSWORD_FILE",
    "KAFKA_CA_FILE",
)
"""The environment variables that `KafkaAccess.from_environment` reads."""

_PROTOCOLS: Final[Mapping[Security, str]] = {
    "plaintext": "PLAINTEXT",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "tls": "SSL",
    "sasl_tls": "SASL_SSL",
}


class InvalidKafkaSettings(Exception):
    """The settings of the connection to Kafka are inconsistent or name an unreadable file.

    The message is one sentence that names the settings and says what to do.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaAccess:
    """The address of Kafka, the client's identity and the protection of the connection.

    Raises:
        InvalidKafkaSettings: The parts contradict each other, or a file cannot be read.
    """

    bootstrap: str
    security: Security = "plaintext"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.security not in get_args(Security):
            raise InvalidKafkaSettings(
                f"KAFKA_SECURITY is {self.security!r}: it must be one of {', '.join(get_args(Security))}."
            )
        if self.sasl and not (self.username and self.password):
            missing = "KAFKA_PASSWORD or KAFKA_PASSWORD_FILE" if self.username else "KAFKA_USERNAME"
            raise InvalidKafkaSettings(f"KAFKA_SECURITY {self.security} needs a user and a password: set {missing}.")
        if self.mechanism not in get_args(Mechanism):
            raise InvalidKafkaSettings(
                f"KAFKA_SASL_MECHANISM is {self.mechanism!r}: it must be {' or '.join(get_args(Mechanism))}."
            )
        if self.mechanism == "PLAIN" and not self.tls:
            raise InvalidKafkaSettings("KAFKA_SASL_MECHANISM PLAIN would send the password in clear: use sasl_tls.")
        if not self.sasl and (self.username or self.password):
            raise InvalidKafkaSettings(
                f"KAFKA_SECURITY {self.security} has no users, but KAFKA_USERNAME or KAFKA_PASSWORD is set: "
                "use sasl_tls, or unset them."
            )
        if self.ca_file is not None and not self.tls:
            raise InvalidKafkaSettings(
                f"KAFKA_SECURITY {self.security} has no certificates, but KAFKA_CA_FILE is set: use sasl_tls or tls."
            )
        if self.tls:
            _tls_context(self.ca_file)

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the variables of `VARIABLES`. An empty variable counts as unset."""
        given = {name: env[name] for name in VARIABLES if env.get(name)}
        username = given.get("KAFKA_USERNAME")
        return cls(
            bootstrap=given.get("KAFKA_BOOTSTRAP", DEFAULT_BOOTSTRAP),
            security=cast("Security", given.get("KAFKA_SECURITY", "sasl_tls" if username else "plaintext")),
            mechanism=cast("Mechanism", given.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")),
            username=username,
            password=_password(given),
            ca_file=Path(given["KAFKA_CA_FILE"]) if "KAFKA_CA_FILE" in given else None,
        )

    @property
    def sasl(self) -> bool:
        """Whether the client authenticates."""
        return self.security in ("sasl_plaintext", "sasl_tls")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and the broker authenticated."""
        return self.security in ("tls", "sasl_tls")

    @property
    def servers(self) -> list[str]:
        """The brokers that are asked first, one text each: FastStream does not split them."""
        return [server.strip() for server in self.bootstrap.split(",") if server.strip()]

    def client(self) -> dict[str, Any]:
        """Return the keyword arguments of an aiokafka client for this connection."""
        settings: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": _PROTOCOLS[self.security]}
        if self.tls:
            settings["ssl_context"] = _tls_context(self.ca_file)
        if self.sasl:
            settings["sasl_mechanism"] = self.mechanism
            settings["sasl_plain_username"] = self.username
            settings["sasl_plain_password"] = self.password
        return settings

    def broker_security(self) -> BaseSecurity:
        """Return the identity and the protection for FastStream's broker."""
        context = _tls_context(self.ca_file) if self.tls else None
        if self.username is None or self.password is None:
            return BaseSecurity(ssl_context=context, use_ssl=self.tls)
        kind = SASLPlaintext if self.mechanism == "PLAIN" else SASLScram512
        return kind(self.username, self.password, ssl_context=context, use_ssl=self.tls)

    def librdkafka(self) -> dict[str, str]:
        """Return the settings for librdkafka, which confluent-kafka and kcat use."""
        settings = {"bootstrap.servers": self.bootstrap, "security.protocol": _PROTOCOLS[self.security]}
        if self.ca_file is not None:
            settings["ssl.ca.location"] = str(self.ca_file)
        if self.username is not None and self.password is not None:
            settings |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return settings

    def environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` makes this.

        All of `VARIABLES` are included, so that a child process inherits none.
        """
        given = {
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "KAFKA_SECURITY": self.security,
            "KAFKA_SASL_MECHANISM": self.mechanism if self.sasl else None,
            "KAFKA_USERNAME": self.username,
            "KAFKA_PASSWORD": self.password,
            "KAFKA_PASSWORD_FILE": None,
            "KAFKA_CA_FILE": None if self.ca_file is None else str(self.ca_file),
        }
        return {name: value or "" for name, value in given.items()}


def _password(given: Mapping[str, str]) -> str | None:
    file = given.get("KAFKA_PASSWORD_FILE")
    if file is None:
        return given.get("KAFKA_PASSWORD")
    if "KAFKA_PASSWORD" in given:
        raise InvalidKafkaSettings("KAFKA_PASSWORD and KAFKA_PASSWORD_FILE are both set: unset one of them.")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise InvalidKafkaSettings(f"KAFKA_PASSWORD_FILE {file} can't be read ({why}).") from None


@lru_cache(maxsize=16)
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that verifies the broker's certificate and host name."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidKafkaSettings(
            f"KAFKA_CA_FILE {ca_file} holds no certificate that can be read ({error.strerror or error})."
        ) from None
