"""Protection of the local Kafka broker: users, certificate and settings.

Clients connect by TLS. Users authenticate by SCRAM-SHA-512, with credentials in Kafka; the administrator by PLAIN, with
a password in a file of the broker's, which works before there is any user. The controller's listener is for the broker
itself, on loopback, with a separate password.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy import certificates, secrets
from deploy.declaration import ADMIN
from shared.eventlog.deliver.kafka import KafkaAccess

HOSTS: Final = ("127.0.0.1", "localhost")
JAAS: Final = "kafka-jaas.conf"
SETTINGS: Final = {
    "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:SASL_PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.enabled.protocols": "TLSv1.3",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:{ADMIN};User:broker",
}
"""Settings for server.properties, without the listeners and the certificate's path."""

_JAAS_TEXT: Final = """\
KafkaServer {{
  org.apache.kafka.common.security.plain.PlainLoginModule required
    username="broker" password="{broker}" user_broker="{broker}" user_{admin_name}="{admin}";
  org.apache.kafka.common.security.scram.ScramLoginModule required;
}};
controller.KafkaServer {{
  org.apache.kafka.common.security.plain.PlainLoginModule required
    username="broker" password="{controller}" user_broker="{controller}";
}};
"""


@dataclass(frozen=True, slots=True)
class Protection:
    """The folder with all secrets of a broker and its clients."""

    folder: Path
    hosts: Sequence[str] = HOSTS
    """The names and addresses under which clients reach the broker."""

    def prepare(self) -> None:
        """Create the certificate and the broker's passwords in the folder, if they are missing."""
        certificates.ensure(self.folder, self.hosts)
        secrets.write(self.folder / JAAS, _jaas(self.folder))

    def settings(self, seen_at: Path | None = None) -> dict[str, str]:
        """Return settings for server.properties.

        Args:
            seen_at: The folder's path in the broker's container, if it differs.
        """
        folder = seen_at or self.folder
        certificate, trusted = folder / certificates.SERVER, folder / certificates.AUTHORITY
        return {**SETTINGS, "ssl.keystore.location": str(certificate), "ssl.truststore.location": str(trusted)}

    @property
    def jaas(self) -> Path:
        return self.folder / JAAS

    def access(self, bootstrap: str, user: str = ADMIN) -> KafkaAccess:
        """Return the access of a user, by default of the administrator."""
        return KafkaAccess(
            bootstrap=bootstrap,
            security="sasl_tls",
            mechanism="PLAIN" if user == ADMIN else "SCRAM-SHA-512",
            username=user,
            password=secrets.secret(f"kafka-{user}", self.folder),
            ca_file=self.folder / certificates.AUTHORITY,
        )


def _jaas(passwords: Path) -> str:
    """Return the JAAS configuration of the broker's own users."""
    names = {name: secrets.secret(f"kafka-{name}", passwords) for name in (ADMIN, "broker", "controller")}
    return _JAAS_TEXT.format(
        broker=names["broker"], controller=names["controller"], admin=names[ADMIN], admin_name=ADMIN
    )


def main() -> None:
    """Fill the folders that the containers mount: for the broker, its clients, and neither.

    The containers' users differ, so the files are readable by everybody who can enter the folders.
    """
    parser = argparse.ArgumentParser(prog="python -m deploy.broker", description="Create the certificates of a broker.")
    parser.add_argument(
        "--passwords", type=Path, required=True, help="the folder with kafka-admin, kafka-broker and so on"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="the folder with the folders authority, broker and ca"
    )
    parser.add_argument("hosts", nargs="+", help="names and addresses under which clients reach the broker")
    chosen = parser.parse_args()
    authority, broker, trusted = (chosen.folder / name for name in ("authority", "broker", "ca"))
    certificates.ensure(authority, chosen.hosts)
    for name, folder in (
        (certificates.SERVER, broker),
        (certificates.AUTHORITY, broker),
        (certificates.AUTHORITY, trusted),
    ):
        secrets.write(folder / name, (authority / name).read_text())
        (folder / name).chmod(0o444)
    secrets.write(broker / JAAS, _jaas(chosen.passwords))
    (broker / JAAS).chmod(0o444)


if __name__ == "__main__":
    main()
