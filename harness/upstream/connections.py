"""
The connections that calls share: so many at once, and so many kept when idle.
"""

from typing import Any

import aiohttp

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, ceil_threshold=float("inf"))


class PooledConnector(aiohttp.TCPConnector):
    """
    Keeps a bounded number of idle connections; aiohttp alone keeps as many as there were.

    Args:
        kept_alive_max: A connection that falls idle beyond so many is closed.
        options: Those of aiohttp.
    """

    def __init__(self, *, kept_alive_max: int, **options: Any) -> None:
        super().__init__(**options)
        self._kept_alive_max = kept_alive_max

    @property
    def idle_connections(self) -> int:
        """
        How many connections wait to be used again.
        """
        return sum(len(idle) for idle in self._conns.values())

    def _release(self, *given: Any, should_close: bool = False) -> None:
        is_full = self.idle_connections >= self._kept_alive_max
        super()._release(*given, should_close=should_close or is_full)


def open_session(
    *, connections_max: int, kept_alive_max: int, keep_alive_s: float
) -> aiohttp.ClientSession:
    """
    Return a session for calls, to be closed by the caller.

    It keeps no cookies, knows no proxies of the environment, and leaves all timeouts to
    whoever calls.

    Args:
        connections_max: Connections at once; more calls wait for one.
        kept_alive_max: Idle connections at once.
        keep_alive_s: How long an idle connection is kept.
    """
    return aiohttp.ClientSession(
        connector=PooledConnector(
            kept_alive_max=kept_alive_max,
            limit=connections_max,
            keepalive_timeout=keep_alive_s,
            timeout_ceil_threshold=float("inf"),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_NO_TIMEOUT,
        trust_env=False,
    )
