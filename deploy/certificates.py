"""The system's own certificate authority and the broker's certificate, as PEM files."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy import OperatorError, secrets

AUTHORITY: Final = "ca.pem"
SERVER: Final = "kafka-server.pem"
_AUTHORITY_KEY: Final = "ca.key"
_AUTHORITY_LASTS: Final = datetime.timedelta(days=3650)
_SERVER_LASTS: Final = datetime.timedelta(days=397)
_RENEWED_BEFORE: Final = datetime.timedelta(days=30)


def ensure(folder: Path, hosts: Sequence[str]) -> None:
    """Create `ca.pem` and `kafka-server.pem` in the folder, if they are missing.

    Clients trust `ca.pem`; `kafka-server.pem` has the broker's key and certificates, for these names and addresses. An
    existing certificate is replaced if it lacks one of them or expires within 30 days.
    """
    secrets.make_folder(folder)
    now = datetime.datetime.now(datetime.UTC)
    key, authority = _authority(folder, now)
    if not _serves(folder / SERVER, authority, hosts, now):
        secrets.write(folder / SERVER, _server(key, authority, hosts, now))


def _authority(folder: Path, now: datetime.datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key((folder / _AUTHORITY_KEY).read_bytes(), password=None)
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise OperatorError(
            f"{folder / AUTHORITY} or its key is damaged ({error}): remove both files, and run the command again."
        ) from None
    else:
        if isinstance(key, ec.EllipticCurvePrivateKey) and authority.not_valid_after_utc - now > _RENEWED_BEFORE:
            return key, authority
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenure's Kafka")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, made.public_key(), now, _AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .sign(made, hashes.SHA256())
    )
    secrets.write(folder / _AUTHORITY_KEY, _pem(made))
    secrets.write(folder / AUTHORITY, certificate.public_bytes(Encoding.PEM).decode())
    return made, certificate


def _serves(file: Path, authority: x509.Certificate, hosts: Sequence[str], now: datetime.datetime) -> bool:
    """Return whether the file has a valid certificate of this authority for all of these hosts."""
    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        found.verify_directly_issued_by(authority)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.InvalidVersion):
        return False
    return found.not_valid_after_utc - now > _RENEWED_BEFORE and all(_name(host) in names for host in hosts)


def _server(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, hosts: Sequence[str], now: datetime.datetime
) -> str:
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        _builder(name, authority.subject, made.public_key(), now, _SERVER_LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = (each.public_bytes(Encoding.PEM).decode() for each in (certificate, authority))
    return _pem(made) + "".join(chain)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    lasts: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + lasts)
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
