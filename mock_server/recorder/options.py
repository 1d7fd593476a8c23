"""
How a recording is set up.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mock_server.options import DEFAULT_HOST, DEFAULT_PORT, OptionsError
from mock_server.recorder.recording import RecordingLimits

_PORT_MAX: Final = 65535
_VERSION_PATH: Final = "/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """
    What is recorded, and where it goes.
    """

    upstream: str
    """The API: its address with or without ``/v1``."""

    out: Path
    """The script that is written."""

    host: str = DEFAULT_HOST
    """Loopback only: whoever reaches it speaks to the upstream through it."""

    port: int = DEFAULT_PORT
    """0 takes a free one."""

    connect_timeout_s: float = 10.0
    write_every_s: float = 1.0
    """How long a recorded exchange waits at most before it is in the file."""

    connections_max: int = 200
    """To the upstream, at once."""

    limits: RecordingLimits = field(default_factory=RecordingLimits)

    def __post_init__(self) -> None:
        mistakes = []
        if (mistake := _mistake_of(self.upstream)) is not None:
            mistakes.append(f"upstream {self.shown_upstream!r}: {mistake}")
        if not _is_loopback(self.host):
            mistakes.append(f"host {self.host} is not loopback")
        if not 0 <= self.port <= _PORT_MAX:
            mistakes.append(f"port {self.port} is not between 0 and {_PORT_MAX}")
        if self.out.is_dir():
            mistakes.append(f"{self.out} is a folder")
        elif not self.out.parent.is_dir():
            mistakes.append(f"there is no folder {self.out.parent}")
        if mistakes:
            raise OptionsError(mistakes)

    @property
    def shown_upstream(self) -> str:
        """
        The address without what may be secret in it.
        """
        parts = urlsplit(self.upstream)
        place = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{place}{parts.path}"

    def target_of(self, path_and_query: str) -> str:
        """
        Return where a request for this path goes.
        """
        base = self.upstream.rstrip("/")
        if base.endswith(_VERSION_PATH) and path_and_query.startswith(
            f"{_VERSION_PATH}/"
        ):
            base = base.removesuffix(_VERSION_PATH)
        return base + path_and_query


def _mistake_of(upstream: str) -> str | None:
    try:
        parts = urlsplit(upstream)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "an address starts with http:// or https://"
    if parts.query or parts.fragment:
        return "an address has no query"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
