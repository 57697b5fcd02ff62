"""Which addresses events may be sent to.

An address is checked as it is written, and the network addresses of its name each time before anything is sent: the
connection goes to the one that was checked, so that a name that changes meanwhile leads nowhere else.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = IPv4Network | IPv6Network
NetworkAddress: TypeAlias = IPv4Address | IPv6Address
Lookup: TypeAlias = Callable[[str, int], Sequence[str]]
"""A function that returns the network addresses of a name. Raises OSError if there are none. It may block."""

LONGEST: Final = 1000
HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80
UNPRIVILEGED: Final = 1024
"""Ports below this one belong to known services; of these only that of https is sent to."""
LOOKUP_S: Final = 5.0
TRIED_AT_MOST: Final = 4
"""How many network addresses of a name are tried."""
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_LOCAL: Final = frozenset(
    {
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa"),
        *("test", "invalid"),
    }
)
"""The ends of names that no public DNS has: a network's own, and those that nothing has. So is a name without a dot.

Source: RFC 6761, RFC 6762 (appendix G), RFC 8375, and ICANN's reservation of `internal` in 2024.
"""
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""The last label of what some resolvers read as an IPv4 address, such as 2130706433 or 0x7f.1."""
_PRINTABLE: Final = re.compile(r"[!-\[\]-~]+\Z")
"""Printable ASCII without spaces and the backslash, which browsers and libraries read in different ways."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NEVER: Final[Sequence[Network]] = (
    IPv4Network("168.63.129.16/32"),  # a cloud's metadata, though the address is public
    IPv4Network("192.0.0.0/24"),  # protocol assignments, and another cloud's metadata
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: another address inside
    IPv6Network("fec0::/10"),  # site-local, deprecated
)

_LOOKUPS: Final = ThreadPoolExecutor(8, thread_name_prefix="webhook names")
"""Threads for the resolver, whose calls can't be cancelled, so that slow names hold up nothing else."""


class NotAllowed(Exception):
    """Nothing may be sent to an address. The message says why, for a person."""


class Unresolved(Exception):
    """The name of an address has no network address now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address that may be sent to as far as it is written."""

    scheme: Literal["http", "https"]
    host: str
    """A name in lower case, or a network address without brackets."""
    port: int
    path: str
    """The path and the query."""

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = HTTPS_PORT if self.scheme == "https" else HTTP_PORT
        return host if self.port == usual else f"{host}:{self.port}"

    def url_at(self, address: NetworkAddress) -> str:
        """Return the URL with a network address in place of the name."""
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks of a setting, such as `10.2.0.0/16, ::1`. Raises ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def target_of(address: str, allowed: Sequence[Network]) -> Target:
    """Return the target of an address.

    Args:
        allowed: The networks that may be sent to although they are not public, and without TLS.

    Raises:
        NotAllowed: Nothing may be sent there, whatever its name leads to.
    """
    if len(address) > LONGEST or not _PRINTABLE.match(address):
        raise NotAllowed(f"An address has up to {LONGEST} printable ASCII characters, without spaces and backslashes.")
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise NotAllowed("The address is no URL.") from None
    if scheme != "https" and not (scheme == "http" and allowed):
        raise NotAllowed("An address begins with https://.")
    if "@" in parts.netloc or "#" in address:
        raise NotAllowed("An address has no user, no password and no fragment: events are signed instead.")
    secure = scheme == "https"
    target = Target(
        scheme="https" if secure else "http",
        host=host,
        port=(HTTPS_PORT if secure else HTTP_PORT) if port is None else port,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )
    literal = _literal(target.host)
    if literal is not None:
        check(target, literal, allowed)
    elif not _NAME.match(target.host) or _NUMBER.match(target.host.rpartition(".")[2]):
        raise NotAllowed("The host is no name of the DNS and no network address in its usual form.")
    elif not allowed and _is_local(target.host):
        raise NotAllowed("The host is not on the Internet: its name is one of a private network.")
    elif not allowed and target.port != HTTPS_PORT and target.port < UNPRIVILEGED:
        raise _port(target)
    return target


def _is_local(name: str) -> bool:
    labels = name.split(".")
    return len(labels) == 1 or labels[-1] in _LOCAL or ".".join(labels[-2:]) in _LOCAL


def _literal(host: str) -> NetworkAddress | None:
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None


def _port(target: Target) -> NotAllowed:
    return NotAllowed(f"Port {target.port} belongs to another kind of service: use 443, or one from 1024 on.")


def check(target: Target, address: NetworkAddress, allowed: Sequence[Network]) -> None:
    """Check a network address of the target. Raises NotAllowed."""
    plain = unwrapped(address)
    if any(plain in network for network in allowed):
        return
    if target.scheme != "https":
        raise NotAllowed("Without TLS, events are sent to networks only that the operator has named.")
    if target.port != HTTPS_PORT and target.port < UNPRIVILEGED:
        raise _port(target)
    if not is_public(plain):
        raise NotAllowed("The host is not on the Internet: its network address is private or reserved.")


def unwrapped(address: NetworkAddress) -> NetworkAddress:
    """Return the IPv4 address inside an IPv6 one, where a connection would go to it."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: NetworkAddress) -> bool:
    """Return whether an address that is unwrapped is one of the Internet's."""
    special = address.is_multicast or address.is_reserved or address.is_loopback or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _NEVER)


def look_up(host: str, port: int) -> Sequence[str]:
    """Return the network addresses of a name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


async def resolved(target: Target, allowed: Sequence[Network], lookup: Lookup = look_up) -> list[NetworkAddress]:
    """Return the network addresses to connect to, each of which may be sent to.

    Raises:
        NotAllowed: The name leads to an address that may not be sent to, if only as one of several.
        Unresolved: The name can't be resolved now.
    """
    literal = _literal(target.host)
    if literal is not None:
        found: list[NetworkAddress] = [literal]
    else:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_S):
                names = await loop.run_in_executor(_LOOKUPS, lookup, target.host, target.port)
            found = [ip_address(name.partition("%")[0]) for name in dict.fromkeys(names)]
        except (OSError, TimeoutError, UnicodeError, ValueError):
            raise Unresolved(f"The name {target.host[:100]} can't be resolved.") from None
    if not found:
        raise Unresolved(f"The name {target.host[:100]} has no network address.")
    for address in found:
        check(target, address, allowed)
    return found[:TRIED_AT_MOST]
