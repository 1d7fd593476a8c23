"""
Where webhooks may go: the guard stands where the address is dialled.

A name is looked up by whoever answers for it, and may mean another address at the
next look. So it is the address of the socket that is checked, for every dial, and not
the text of the URL. ``ipaddress.is_global`` misses many of the networks below.
"""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from harness.errors import EgressDeniedError, UsageError

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

DENIED: Final[Sequence[Network]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""Networks that a webhook has no business in; ``::`` and ``::1`` are in ``::/96``."""

SCHEMES: Final = ("http", "https")
PORTS: Final = (range(80, 81), range(443, 444), range(1024, 65536))
"""The web's ports and the unprivileged ones; mail, SSH and the like are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """
    Which addresses may be dialled.
    """

    allow_private: Sequence[Network] = ()
    """Networks that may be dialled although they are denied otherwise."""

    ports: Sequence[range] = PORTS
    """Ports that may be dialled."""

    @classmethod
    def parse(cls, allow_private: Sequence[str] = ()) -> "EgressPolicy":
        """
        Return a policy that allows networks like ``127.0.0.0/8``.

        Raises:
            UsageError: One of them is no network.
        """
        try:
            networks = tuple(ip_network(text) for text in allow_private)
        except ValueError as error:
            message = f"allow_private: {error}"
            raise UsageError(message) from error
        return cls(allow_private=networks)

    def check_address(self, host: str, port: int) -> None:
        """
        Refuse an address that must not be dialled.

        Args:
            host: An address, not a name.
            port: The port.

        Raises:
            EgressDeniedError: It is in a denied network, or the port is not allowed.
        """
        try:
            address = _unwrap(ip_address(host.partition("%")[0]))
        except ValueError as error:
            raise EgressDeniedError(address=host, reason="no address") from error
        if not any(_contains(network, address) for network in self.allow_private):
            for network in DENIED:
                if _contains(network, address):
                    raise EgressDeniedError(address=host, reason=f"in {network}")
        if not any(port in allowed for allowed in self.ports):
            raise EgressDeniedError(address=f"{host}:{port}", reason="port")

    def check_url(self, url: str) -> None:
        """
        Refuse a URL that no look-up could make right.

        Raises:
            EgressDeniedError: Its scheme or port is not allowed, it has user info or
                no host, or it names an address that is denied.
        """
        host, port = check_form(url)
        if not any(port in allowed for allowed in self.ports):
            raise EgressDeniedError(address=f"{host}:{port}", reason="port")
        if _is_address(host):
            self.check_address(host, port)

    def make_socket(self, info: AddressInfo) -> socket.socket:
        """
        Return a socket to dial an address with; aiohttp's ``socket_factory``.

        Raises:
            DialDenied: The address must not be dialled.
        """
        family, kind, protocol, _, address = info
        try:
            self.check_address(str(address[0]), int(address[1]))
        except EgressDeniedError as error:
            raise DialDenied(error) from error
        return socket.socket(family, kind, protocol)


def check_form(url: str) -> tuple[str, int]:
    """
    Return host and port of a URL that a webhook may have.

    Raises:
        EgressDeniedError: Its scheme is not allowed, it has user info, or no host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise EgressDeniedError(address="the URL", reason="malformed") from error
    host = parts.hostname
    if not host:
        raise EgressDeniedError(address="the URL", reason="no host")
    if parts.scheme not in SCHEMES:
        raise EgressDeniedError(address=host, reason="scheme")
    if parts.username is not None or parts.password is not None:
        raise EgressDeniedError(address=host, reason="user info in the URL")
    return host, port


def is_loopback(host: str) -> bool:
    """
    Return whether only this machine can reach what is bound to ``host``.
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def loopback_of(url: str) -> Sequence[str]:
    """
    Return the loopback addresses that a URL itself names, as networks; mostly none.

    A name that is looked up names none, wherever it leads.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ("127.0.0.1/32", "::1/128")
    return (str(ip_network(host)),) if is_loopback(host) else ()


class DialDenied(PermissionError):  # noqa: N818 - an OSError for aiohttp's eyes only
    """
    A denied dial in the form that a connector takes for a failed one.

    Attributes:
        denied: What was refused.
    """

    def __init__(self, denied: EgressDeniedError) -> None:
        super().__init__(errno.EACCES, str(denied))
        self.denied = denied


def open_session(policy: EgressPolicy) -> aiohttp.ClientSession:
    """
    Return a session for webhooks, to be closed by the caller.

    It dials what the policy allows, keeps no cookies, inflates nothing, and knows no
    proxies.
    """
    connector = aiohttp.TCPConnector(
        # The sender caps what is in flight per endpoint; a cap over all of them
        # would let a slow endpoint take the connections of the others.
        limit=0,
        socket_factory=policy.make_socket,
        timeout_ceil_threshold=float("inf"),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


def _unwrap(address: Address) -> Address:
    """
    Return the IPv4 address inside a mapped one: it is what is dialled.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _contains(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
