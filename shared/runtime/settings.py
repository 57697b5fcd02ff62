"""The settings of a service process, all from the environment."""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.migrate import operator_of, owner_of
from shared.runtime.connections import trusting
from shared.runtime.cors import origins_of
from shared.runtime.limits import parsed as parsed_limits
from shared.services import OPERATIONS, PORTS, SERVICES, local_url, url_variable


def _urls() -> dict[str, str]:
    return {name: os.environ.get(url_variable(name)) or local_url(name) for name in (*SERVICES, OPERATIONS)}


def _valid_limits(limits: str) -> str:
    parsed_limits(limits)
    return limits


def _valid_networks(proxies: str) -> str:
    trusting(proxies)
    return proxies


def _valid_origins(origins: str) -> str:
    origins_of(origins)
    return origins


class Settings(BaseSettings):
    """The settings of a process, from TENURE_* variables. Secrets in them are never printed."""

    model_config = SettingsConfigDict(env_prefix="TENURE_", env_ignore_empty=True, extra="ignore")

    database_url: Annotated[SecretStr, Field(validation_alias="DATABASE_URL")] = SecretStr(
        "postgresql://tenure@127.0.0.1:8110"
    )
    database_password_file: Annotated[Path | None, Field(validation_alias="DATABASE_PASSWORD_FILE")] = None
    """A file with the password of DATABASE_URL's user, if it is not in the URL."""
    kafka: Annotated[KafkaAccess, Field(default_factory=KafkaAccess.from_environment)]
    host: str = "127.0.0.1"
    port: int | None = None
    """0 means any free port; unset means the service's own (`shared.services`)."""
    _urls: Mapping[str, str] = PrivateAttr(default_factory=_urls)
    """The URL of each service, from TENURE_<SERVICE>_URL. All services fetch identity's public keys there; identity
    asks the others whether they have the new time of a clock that was moved. TENURE_OPERATIONS_URL is for the
    console."""
    issuer: str | None = None
    """identity's public URL, as in its tokens and its discovery document; the same for all services. Unset means the
    URL of identity."""
    signing_key_file: Path | None = None
    """identity only: a PEM private key (EC P-256) to sign with, instead of the one kept in its database."""
    oidc_issuer: str | None = None
    """identity only: an OpenID Connect issuer whose ID tokens sign people in; it needs `oidc_audience` (the client id
    there) and `oidc_jwks_url` (the URL of its keys)."""
    oidc_audience: str | None = None
    oidc_jwks_url: str | None = None
    oidc_providers_file: Path | None = None
    """identity and the console: a TOML file with the providers that people may sign in by (`shared.runtime.providers`),
    the same for both."""
    smtp_url: SecretStr | None = None
    """identity only: the server for mails, `smtp://user:password@host:587` (STARTTLS) or `smtps://…`. Alternatively
    `mail_folder` is a folder that mails are written into. Without both, no mails are sent."""
    mail_folder: Path | None = None
    mail_from: str = "tenure@localhost"
    public_url: str = local_url("console")
    """The console's URL, as browsers reach it: the prefix of the links in mails. With `https://` its cookies are sent
    over TLS only."""
    public_kafka: str = ""
    """Kafka's addresses as its clients outside reach them, such as `kafka.example.org:9094`, separated by commas: what
    `/asyncapi.json` names. Unset means those of KAFKA_BOOTSTRAP."""
    cookie_key_file: Path | None = None
    """The console only: a file with the secrets that its cookies are encrypted with, one a line. The first encrypts,
    all of them decrypt. Without it, sessions end with the process."""
    webhook_networks: Annotated[str, AfterValidator(_valid_networks)] = ""
    """identity only: the networks to which webhooks may be sent although they are not public, and without TLS, such as
    `10.2.0.0/16, ::1`. Unset means none."""
    webhook_park_after_h: Annotated[float, Field(gt=0)] = 72
    """identity only: after how many hours without success a webhook is parked."""
    anchors: Path | None = Path(".local/anchors")
    """A folder outside of the stores, into which the relays write anchors of the stores' heads."""
    limits: Annotated[str, AfterValidator(_valid_limits)] = ""
    """Rate limits that differ from the defaults, such as `sign-up=1000/minute, dry-run=off`. See
    `shared.runtime.limits`."""
    trusted_proxies: Annotated[str, AfterValidator(_valid_networks)] = ""
    """The addresses and networks of the proxies in front of the services, such as `10.0.0.0/8`. The address in their
    X-Forwarded-For counts as the source of a request."""
    connections: Annotated[int, Field(ge=1)] = 1000
    """The greatest number of a process's connections."""
    connections_of_a_source: Annotated[int, Field(ge=1)] = 300
    """The greatest number of a process's connections from one network address (an IPv6 /64)."""
    drain_s: Annotated[float, Field(ge=0, le=300)] = 0
    """How long a process that was told to stop goes on answering, not ready any more, before it takes no more
    connections: longer than a load balancer's interval between two looks at `/ready`."""
    cors_origins: Annotated[str, AfterValidator(_valid_origins)] = ""
    """The web origins whose pages may send requests from browsers, such as `https://app.example.org`, separated by
    commas; `*` means all. Unset means none. See `shared.runtime.cors`."""
    cors_credentials: bool = False
    """Whether these pages may have browsers add cookies and the like. No service reads any: a token is a header."""
    log: Literal["json", "console"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _credentials_for_some(self) -> Self:
        if self.cors_credentials and "*" in origins_of(self.cors_origins):
            raise ValueError("TENURE_CORS_CREDENTIALS needs TENURE_CORS_ORIGINS that are named: * would be everybody")
        return self

    def dsn(self, service: str) -> str:
        """Return the URL of a service's own database on the server of DATABASE_URL.

        The database is `<prefix>_<service>`. The prefix is the path of DATABASE_URL, or "tenure". The operator acts as
        the database's owner, so that the owner owns what the operator creates.
        """
        parts = urlsplit(self.server_url())
        prefix = parts.path.strip("/") or "tenure"
        database, query = f"{prefix}_{service}", [parts.query] if parts.query else []
        if parts.username == operator_of(prefix):
            query.append(f"role={owner_of(database)}")
        return urlunsplit(parts._replace(scheme="postgresql", path=f"/{database}", query="&".join(query)))

    def server_url(self) -> str:
        """Return DATABASE_URL with its password. Raises OSError if that can't be read."""
        url = self.database_url.get_secret_value()
        if self.database_password_file is None:
            return url
        parts = urlsplit(url)
        user, host = quote(unquote(parts.username or ""), safe=""), parts.netloc.rpartition("@")[2]
        password = quote(self.database_password_file.read_text().strip(), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))

    def url_of(self, service: str) -> str:
        """Return a service's URL without a slash at the end."""
        return self._urls[service].rstrip("/")

    def port_of(self, service: str) -> int:
        return PORTS[service] if self.port is None else self.port

    @property
    def token_issuer(self) -> str:
        return self.issuer or self._urls["identity"]

    @property
    def log_as(self) -> Literal["json", "console"]:
        return self.log or ("console" if sys.stderr.isatty() else "json")


@lru_cache(maxsize=1)
def settings() -> Settings:
    return Settings()


def edge_settings() -> Settings:
    """Return the settings of an edge, which serves no events if KAFKA_BOOTSTRAP is unset.

    Its `kafka.bootstrap` is "" then, and the other variables of Kafka are not read.
    """
    reads = bool(os.environ.get("KAFKA_BOOTSTRAP"))
    return Settings(kafka=KafkaAccess.from_environment() if reads else KafkaAccess(bootstrap=""))
