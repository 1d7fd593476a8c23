"""
How a mock is set up.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from math import isfinite
from pathlib import Path

from mock_server.limits import Limits
from mock_server.signatures import SecretError, parse_secret
from mock_server.tls import TlsError, load_tls

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4010
_PORT_MAX = 65535


class OptionsError(ValueError):
    """
    Options that make no mock.

    Attributes:
        mistakes: All of them.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class MockOptions:
    """
    Everything about a mock but its script.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    """0 takes a free one."""

    control_port: int | None = None
    """A second listener for control, tools and webhooks; 0 takes a free one.

    Without it no fault may close the first one.
    """

    seed: int | None = None
    """All chance and all ids come from it; by default a scenario's own, else 0."""

    service_url: str | None = None
    """Where webhooks of deferred tools go; without it none are sent."""

    receive_path: str = "/webhook/callback"
    """The path of the service's receiver."""

    webhook_secret: str | None = field(default=None, repr=False)
    """``whsec_…``: signs what is sent, verifies what comes in."""

    control_token: str | None = field(default=None, repr=False)
    """Who may steer the mock; needed on any host but loopback."""

    tls_cert: Path | None = None
    """A certificate as PEM: with it and its key the mock speaks TLS, and only that."""

    tls_key: Path | None = None

    event_log: Path | None = None
    """Every event is appended to it."""

    speed: float = 1.0
    """Every latency of the script is divided by it: 10 replays ten times as fast."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        mistakes = []
        if not self.is_loopback and not self.control_token:
            mistakes.append(
                f"host {self.host} is not loopback: a control token is needed, "
                "or anybody could steer the mock"
            )
        mistakes += [
            f"port {port} is not between 0 and {_PORT_MAX}"
            for port in (self.port, self.control_port)
            if port is not None and not 0 <= port <= _PORT_MAX
        ]
        if self.port and self.port == self.control_port:
            mistakes.append(f"port {self.port} cannot be both listeners'")
        if not (self.speed > 0 and isfinite(self.speed)):
            mistakes.append(f"speed {self.speed} is not a number above 0")
        if self.webhook_secret is not None:
            try:
                parse_secret(self.webhook_secret)
            except SecretError as error:
                mistakes.append(str(error))
        try:
            load_tls(self.tls_cert, self.tls_key)
        except TlsError as error:
            mistakes.append(str(error))
        url = self.service_url
        if url is not None and not url.startswith(("http://", "https://")):
            mistakes.append(f"service URL {url!r} does not start with http://")
        if mistakes:
            raise OptionsError(mistakes)

    @property
    def is_loopback(self) -> bool:
        """
        Whether only this machine can reach the mock.
        """
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
