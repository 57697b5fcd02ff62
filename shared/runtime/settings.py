"""A service process's settings, all from the environment."""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.migrate import operator_of, owner_of
from shared.runtime.connections import trusting
from shared.runtime.limits import parsed as parsed_limits
from shared.services import PORTS, SERVICES, local_url, url_variable


def _urls() -> dict[str, str]:
    return {service: os.environ.get(url_variable(service)) or local_url(service) for service in SERVICES}


def _readable(limits: str) -> str:
    parsed_limits(limits)
    return limits


def _networks(proxies: str) -> str:
    trusting(proxies)
    return proxies


class Settings(BaseSettings):
    """Secrets are never printed: the database's URL holds a password, and so does the access to Kafka."""

    model_config = SettingsConfigDict(env_prefix="TENURE_", env_ignore_empty=True, extra="ignore")

    database_url: Annotated[SecretStr, Field(validation_alias="DATABASE_URL")] = SecretStr(
        "postgresql://tenure@127.0.0.1:8110"
    )
    database_password_file: Annotated[Path | None, Field(validation_alias="DATABASE_PASSWORD_FILE")] = None
    """The password of DATABASE_URL's user, where it is not in the URL."""
    kafka: Annotated[KafkaAccess, Field(default_factory=KafkaAccess.from_environment)]
    host: str = "127.0.0.1"
    port: int | None = None
    """0 is any free port; unset is the service's own (`shared.services`)."""
    urls: Annotated[Mapping[str, str], Field(default_factory=_urls)]
    """Where each service is, as TENURE_<SERVICE>_URL says. All find there the keys that identity signs with; identity
    asks the others whether they have the new time of a clock that was moved."""
    issuer: str | None = None
    """identity's public URL, which its tokens and its discovery document name; the same for all services. Unset is
    the URL of identity."""
    signing_key_file: Path | None = None
    """identity only: a PEM private key (EC P-256) to sign with, instead of the one kept in its database."""
    oidc_issuer: str | None = None
    """identity only: another issuer (OpenID Connect) whose ID tokens sign people in; with its audience (the client's
    id there) and where its keys are."""
    oidc_audience: str | None = None
    oidc_jwks_url: str | None = None
    smtp_url: SecretStr | None = None
    """identity only: where mails are sent, `smtp://user:password@host:587` (STARTTLS) or `smtps://…`; or instead a
    folder that they are written into. With neither none are sent."""
    mail_folder: Path | None = None
    mail_from: str = "tenure@localhost"
    public_url: str = local_url("identity")
    """identity only: what the links in mails begin with."""
    anchors: Path | None = Path(".local/anchors")
    """A folder outside of the stores, where the relays note where each store's head stood."""
    limits: Annotated[str, AfterValidator(_readable)] = ""
    """How often one account, address or source may ask, where it is not as by default: `sign-up=1000/minute,
    dry-run=off`. See `shared.runtime.limits`."""
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    """Addresses and networks of the proxies before the services, such as `10.0.0.0/8`: what they say in X-Forwarded-For
    is believed, and counted as the source of a request."""
    connections: Annotated[int, Field(ge=1)] = 1000
    """How many a process takes at once, and how many of them from one network address (an IPv6 /64)."""
    connections_of_a_source: Annotated[int, Field(ge=1)] = 300
    log: Literal["json", "console"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def dsn(self, service: str) -> str:
        """The service's own database: `<prefix or "tenure">_<service>` on the server of DATABASE_URL.

        The operator acts there as the database's owner: what the operator makes is the owner's.
        """
        parts = urlsplit(self.server_url())
        prefix = parts.path.strip("/") or "tenure"
        database, query = f"{prefix}_{service}", [parts.query] if parts.query else []
        if parts.username == operator_of(prefix):
            query.append(f"role={owner_of(database)}")
        return urlunsplit(parts._replace(scheme="postgresql", path=f"/{database}", query="&".join(query)))

    def server_url(self) -> str:
        """DATABASE_URL with its password. Raises OSError when the password's file can't be read."""
        url = self.database_url.get_secret_value()
        if self.database_password_file is None:
            return url
        parts = urlsplit(url)
        user, host = quote(unquote(parts.username or ""), safe=""), parts.netloc.rpartition("@")[2]
        password = quote(self.database_password_file.read_text().strip(), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))

    def url_of(self, service: str) -> str:
        """Where a service answers, without a slash at the end."""
        return self.urls[service].rstrip("/")

    def port_of(self, service: str) -> int:
        return PORTS[service] if self.port is None else self.port

    @property
    def token_issuer(self) -> str:
        return self.issuer or self.urls["identity"]

    @property
    def log_as(self) -> Literal["json", "console"]:
        return self.log or ("console" if sys.stderr.isatty() else "json")


@lru_cache(maxsize=1)
def settings() -> Settings:
    return Settings()
