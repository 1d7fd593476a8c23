"""
Where webhooks may go: the table, and the place where it is looked at.
"""

import socket

import aiohttp
import pytest

from harness.clock import Clock
from harness.errors import EgressDeniedError, UsageError
from harness.webhooks import (
    DialDenied,
    EgressPolicy,
    Endpoint,
    Secret,
    exchange,
    is_loopback,
    loopback_of,
    open_session,
)

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

DENIED = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1"),  # noqa: S104 - nothing is bound
    *("100.127.255.255", "127.0.0.1", "127.255.255.254", "168.63.129.16"),
    *("169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
]
ALLOWED = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255"),
    *("100.128.0.1", "126.255.255.255", "128.0.0.1", "168.63.129.17"),
    *("172.15.255.255", "172.32.0.1", "192.0.1.1", "198.17.255.255", "198.20.0.1"),
    *("223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::1"),
    *("::ffff:1.1.1.1", "2001:4860:4860::8888"),
]


@pytest.mark.parametrize("address", DENIED)
def test_denies_what_is_not_public(address: str) -> None:
    """
    Private, local, documentation and otherwise special networks are not dialled.
    """
    with pytest.raises(EgressDeniedError):
        EgressPolicy().check_address(address, 443)


@pytest.mark.parametrize("address", ALLOWED)
def test_allows_the_public_internet(address: str) -> None:
    """
    Neighbours of the denied networks are ordinary addresses.
    """
    EgressPolicy().check_address(address, 443)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.9.9.9"])
def test_allows_private_networks_by_name(address: str) -> None:
    """
    A network that is allowed by the settings is dialled, and only that one.
    """
    policy = EgressPolicy.parse(["127.0.0.0/8"])

    policy.check_address(address, 8080)
    with pytest.raises(EgressDeniedError):
        policy.check_address("10.0.0.1", 8080)


@pytest.mark.parametrize(
    ("port", "is_allowed"),
    [(80, True), (443, True), (8080, True), (65535, True), (22, False), (25, False)],
)
def test_ports_are_allowed_by_list(port: int, *, is_allowed: bool) -> None:
    """
    The web's and the unprivileged ports may be dialled, mail and SSH may not.
    """
    if is_allowed:
        EgressPolicy().check_address("1.1.1.1", port)
    else:
        with pytest.raises(EgressDeniedError):
            EgressPolicy().check_address("1.1.1.1", port)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com",
        "https://user:word@example.com/",
        "https://user@example.com/",
        "https://",
        "https:///path",
        "example.com/path",
        "https://example.com:99999/",
        "https://[::1",
        "",
    ],
)
def test_refuses_urls_of_another_form(url: str) -> None:
    """
    Another scheme, user info or no host is refused when an endpoint is named.
    """
    with pytest.raises(EgressDeniedError):
        Endpoint(name="default", url=url, secrets=(SECRET,))
    with pytest.raises(EgressDeniedError):
        EgressPolicy().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "https://example.com:25/",
    ],
)
def test_refuses_urls_that_no_look_up_makes_right(url: str) -> None:
    """
    A denied address literal or port is refused before anything is looked up.
    """
    with pytest.raises(EgressDeniedError):
        EgressPolicy().check_url(url)


def test_accepts_ordinary_urls() -> None:
    """
    A name is accepted: what it means is checked when it is dialled.
    """
    EgressPolicy().check_url("https://example.com/webhooks?tenant=1")
    EgressPolicy().check_url("http://example.com:8080/")


def test_refuses_networks_that_are_none() -> None:
    """
    A setting that is no network is a mistake of the user.
    """
    with pytest.raises(UsageError, match="allow_private"):
        EgressPolicy.parse(["localhost"])


def test_the_guard_stands_at_the_socket() -> None:
    """
    No socket is made for a denied address, whatever name led there.
    """
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))

    with pytest.raises(DialDenied) as denied:
        EgressPolicy().make_socket(info)

    assert denied.value.denied.address == "10.0.0.1"


class RebindingResolver(aiohttp.abc.AbstractResolver):
    """
    Says that every name is a public and a private address, as an attacker would.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """
        Return the addresses.
        """
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
            for address in self.addresses
        ]

    async def close(self) -> None:
        """
        Nothing is held.
        """


@pytest.mark.virtual_time
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
async def test_a_name_that_means_a_private_address_is_denied(
    clock: Clock, addresses: list[str]
) -> None:
    """
    Whatever a name is said to mean at the moment of dialling is what counts.
    """
    policy = EgressPolicy()
    connector = aiohttp.TCPConnector(
        resolver=RebindingResolver(*addresses), socket_factory=policy.make_socket
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        answer = await exchange(
            session,
            "http://public.example/",
            headers={},
            body=b"{}",
            timeout_s=5.0,
            clock=clock,
        )

    assert (answer.status, answer.reason) == (None, "egress_denied")


async def test_the_session_knows_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Proxies of the environment are not used, and cookies are not kept.
    """
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async with open_session(EgressPolicy()) as session:
        assert not session.trust_env
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
        assert not session.auto_decompress


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.0.4", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_local: bool) -> None:  # noqa: FBT001 - a column of the table
    """
    Only what cannot be reached from elsewhere passes for loopback.
    """
    assert is_loopback(host) == is_local


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("http://127.0.0.1:4010/webhooks/default", ("127.0.0.1/32",)),
        ("http://127.8.8.8/", ("127.8.8.8/32",)),
        ("http://[::1]:4010/", ("::1/128",)),
        ("http://localhost:4010/", ("127.0.0.1/32", "::1/128")),
        ("http://10.0.0.1/", ()),
        ("http://169.254.169.254/latest", ()),
        ("http://[::ffff:127.0.0.1]/", ()),
        ("http://127.0.0.1.evil.example/", ()),
        ("https://hooks.example/", ()),
    ],
)
def test_only_a_loopback_address_names_itself(
    url: str, networks: tuple[str, ...]
) -> None:
    """
    Of all URLs, those with an address of loopback in them name networks to be allowed.
    """
    assert tuple(loopback_of(url)) == networks
