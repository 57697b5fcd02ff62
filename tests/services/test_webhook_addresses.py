"""Where webhooks may be sent to, whatever an address is written like, and how messages are signed."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

import pytest

from services.identity.webhooks.addresses import (
    NotAllowed,
    Unresolved,
    check,
    is_public,
    networks_of,
    resolved,
    target_of,
    unwrapped,
)
from services.identity.webhooks.signature import headers_of, new_secret

LOOPBACK = networks_of("127.0.0.0/8, ::1")
PRIVATE = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_internet_is_refused(address: str) -> None:
    assert not is_public(unwrapped(ip_address(address)))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(NotAllowed):
        target_of(f"https://{host}/", ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_sent_to(address: str) -> None:
    assert is_public(unwrapped(ip_address(address)))


@pytest.mark.parametrize(
    "address",
    [
        "http://receiver.example/",
        "ftp://receiver.example/",
        "//receiver.example/",
        "receiver.example",
        "https:///path",
        "https://user@receiver.example/",
        "https://user:secret@receiver.example/",
        "https://receiver.example@127.0.0.1/",
        "https://receiver.example/#fragment",
        "https://receiver.example\\@127.0.0.1/",
        "https://receiver.example:99999/",
        "https://receiver.example:port/",
        "https://receiver.example:0/",
        "https://receiver.example:22/",
        "https://receiver.example:25/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://receiver.example./",
        "https://[::1%25eth0]/",
        "https://[::1/",
        "https://rec eiver.example/",
        "https://receiver.example/\n",
        "https://\u0660.example/",
        "https://receiver\u3002example/",
        "https://%6c%6fcalhost/",
        "https://-receiver.example/",
        "https://receiver..example/",
        "https://" + "a" * 64 + ".example/",
        "https://receiver.example/" + "a" * 1000,
    ],
)
def test_an_address_in_another_notation_is_refused(address: str) -> None:
    with pytest.raises(NotAllowed):
        target_of(address, ())


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST", "a.localhost", "printer.local", "metadata.google.internal", "receiver", "nas.home.arpa"],
)
def test_a_name_of_a_private_network_is_refused_unless_one_may_be_sent_to(name: str) -> None:
    with pytest.raises(NotAllowed, match="one of a private network"):
        target_of(f"https://{name}/", ())
    assert target_of(f"https://{name}/", LOOPBACK).host == name.lower()


@pytest.mark.parametrize("name", ["internal.example.org", "localhost.example", "arpa.example", "local.de"])
def test_a_name_with_such_a_part_elsewhere_is_sent_to(name: str) -> None:
    assert target_of(f"https://{name}/", ()).host == name


def test_an_address_is_split_into_what_is_connected_to_and_what_is_said() -> None:
    target = target_of("https://Receiver.Example:8443/a/b?c=d", ())
    assert (target.host, target.port, target.path, target.authority) == (
        "receiver.example",
        8443,
        "/a/b?c=d",
        "receiver.example:8443",
    )
    assert target.url_at(IPv4Address("8.8.8.8")) == "https://8.8.8.8:8443/a/b?c=d"
    assert target.url_at(ip_address("2606:4700::1")) == "https://[2606:4700::1]:8443/a/b?c=d"
    assert target_of("https://receiver.example", ()).authority == "receiver.example"


def test_a_network_that_the_operator_has_named_is_sent_to_also_without_tls() -> None:
    for address in ("http://127.0.0.1:9/", "https://127.0.0.1/", "http://[::1]:80/", "http://[::ffff:127.0.0.1]/"):
        assert target_of(address, LOOPBACK).path == "/"
    named = target_of("http://receiver.example/", LOOPBACK)
    check(named, ip_address("127.0.0.1"), LOOPBACK)
    for elsewhere in ("8.8.8.8", "10.0.0.1"):
        with pytest.raises(NotAllowed):
            check(named, ip_address(elsewhere), LOOPBACK)
    with pytest.raises(ValueError, match="does not appear to be"):
        networks_of("nowhere")


def to(*addresses: str) -> list[str]:
    return list(addresses)


@pytest.mark.parametrize(
    "found", [to("127.0.0.1"), to("8.8.8.8", "10.0.0.1"), to("2606:4700::1", "::ffff:10.0.0.1"), to("fe80::1%2")]
)
async def test_a_name_that_leads_to_a_private_address_is_refused_each_time(found: list[str]) -> None:
    target, answers = target_of("https://receiver.example/", ()), [to("8.8.8.8"), found]

    def lookup(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("receiver.example", 443)
        return answers.pop(0)

    assert await resolved(target, (), lookup) == [ip_address("8.8.8.8")]
    with pytest.raises(NotAllowed):
        await resolved(target, (), lookup)


async def test_a_name_without_an_address_is_no_reason_to_give_up() -> None:
    def lookup(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such host")

    with pytest.raises(Unresolved):
        await resolved(target_of("https://receiver.example/", ()), (), lookup)
    with pytest.raises(Unresolved):
        await resolved(target_of("https://receiver.example/", ()), (), lambda _host, _port: [])


def test_a_message_is_signed_as_the_standard_says() -> None:
    headers = headers_of(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {  # the test vector of the standard's libraries
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_message_has_a_signature_for_each_secret() -> None:
    first, second = new_secret(), new_secret()
    assert first != second and len(b64decode(first.removeprefix("whsec_"))) == 32
    signatures = headers_of("id", 5, b"{}", [second, first])["webhook-signature"].split(" ")
    keys = [b64decode(secret.removeprefix("whsec_")) for secret in (second, first)]
    assert signatures == [f"v1,{b64encode(hmac.digest(key, b'id.5.{}', hashlib.sha256)).decode()}" for key in keys]
