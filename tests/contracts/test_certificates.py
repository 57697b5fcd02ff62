"""The certificates of a Kafka of ours: for whom, how long, and when they are made again."""

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from deploy import OperatorError, certificates
from deploy.certificates import AUTHORITY, SERVER


def server(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / SERVER).read_bytes())


def test_it_is_for_its_hosts_and_signed_by_the_authority_that_clients_trust(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["127.0.0.1", "kafka"])
    found = server(tmp_path)
    found.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / AUTHORITY).read_bytes()))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"127.0.0.1", "kafka"}
    assert ssl.create_default_context(cafile=tmp_path / AUTHORITY).check_hostname


def test_a_strict_client_takes_it(tmp_path: Path) -> None:
    """As Python 3.13's are by default: without key identifiers, a certificate is refused."""
    certificates.ensure(tmp_path, ["localhost"])
    trusting = ssl.create_default_context(cafile=tmp_path / AUTHORITY)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / SERVER)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_side = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server_side, client, server_side):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() == "TLSv1.3"


def test_what_is_there_is_kept_until_a_host_is_added(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["127.0.0.1"])
    before, authority = server(tmp_path), (tmp_path / AUTHORITY).read_bytes()
    certificates.ensure(tmp_path, ["127.0.0.1"])
    assert server(tmp_path) == before
    certificates.ensure(tmp_path, ["127.0.0.1", "kafka.example"])
    assert server(tmp_path) != before and (tmp_path / AUTHORITY).read_bytes() == authority


def test_it_is_made_again_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_SERVER_LASTS", datetime.timedelta(days=29))
    certificates.ensure(tmp_path, ["127.0.0.1"])
    before = server(tmp_path)
    monkeypatch.undo()
    certificates.ensure(tmp_path, ["127.0.0.1"])
    assert server(tmp_path) != before


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "made", ["127.0.0.1"])
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "made").iterdir()} == {0o600}


def test_a_damaged_authority_is_said_and_not_replaced(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["127.0.0.1"])
    (tmp_path / "ca.key").write_text("nothing")
    with pytest.raises(OperatorError, match="damaged"):
        certificates.ensure(tmp_path, ["127.0.0.1"])
