"""
Tools for tests: virtual time, a mock of everything outside, recorders.

pytest finds the marker ``virtual_time`` and the fixtures by itself once the package
is installed. A test of a service of your own, with the unmodified ``openai`` client::

    @pytest.mark.virtual_time
    async def test_waits_as_long_as_it_is_told(mock_upstream, clock):
        mock_upstream.script([{"reply": {"text": "It is 22 °C in Paris."}}])
        mock_upstream.fault("rate_limited", retry_after="20s", times=2)
        started_s = clock.monotonic()
        client = openai.AsyncOpenAI(
            base_url=mock_upstream.base_url, api_key=mock_upstream.api_key
        )

        text = await my_service.answer(client, "weather?")

        assert text == "It is 22 °C in Paris."
        assert clock.monotonic() - started_s == pytest.approx(40, abs=1)
        assert [entry.status for entry in mock_upstream.journal] == [429, 429, 200]

Forty seconds pass in an instant, on sockets that exist in memory only; without the
marker the same fixtures work over loopback in real time. The other fixtures are
``webhook_endpoint``, ``virtual_time`` (the loop itself, with its network), ``bus``,
``recorder``, ``randomness`` and ``ids``. A failure prints the seed that repeats it.

Without pytest-asyncio there are :func:`run_virtual` and :func:`in_virtual_time`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from harness.simulation import (
    WALL_EPOCH_S,
    Ending,
    Host,
    Kind,
    Link,
    LinkOptions,
    Network,
    Passage,
    Segment,
    SimLoop,
    in_virtual_time,
    run_virtual,
)
from harness.testing.recorder import Recorder

if TYPE_CHECKING:
    from harness.testing.mocks import MockUpstream, ReceivedWebhook, WebhookEndpoint

__all__ = [
    "WALL_EPOCH_S",
    "Ending",
    "Host",
    "Kind",
    "Link",
    "LinkOptions",
    "MockUpstream",
    "Network",
    "Passage",
    "ReceivedWebhook",
    "Recorder",
    "Segment",
    "SimLoop",
    "WebhookEndpoint",
    "in_virtual_time",
    "run_virtual",
]

_OF_THE_MOCK = frozenset({"MockUpstream", "ReceivedWebhook", "WebhookEndpoint"})


def __getattr__(name: str) -> Any:
    # The mock is loaded when it is asked for: pytest imports this package wherever
    # it is installed, also for tests that need nothing of it.
    if name in _OF_THE_MOCK:
        return getattr(importlib.import_module("harness.testing.mocks"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
