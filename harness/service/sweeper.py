"""
What nobody asks for by name: calls past their deadline end, old rows are forgotten.
"""

import logging
from collections.abc import Callable
from typing import Final

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import StoreUnavailableError
from harness.events import PendingCallExpired, trace_scope
from harness.orchestrator import PendingCalls
from harness.stores import Store

SWEEP_S: Final = 5.0
"""How often it is done."""

_LOG = logging.getLogger(__name__)


class Sweeper:
    """
    Sweeps the store, and tells of what it ended.

    Args:
        store: What is swept.
        pending: Whoever waits for a call that expired is told.
        pending_timeout_s: How long a call had.
        on_enqueued: A hint for the sender: expired calls have webhooks.
        clock: Time.
        bus: Is told of every call that expired.
    """

    def __init__(
        self,
        *,
        store: Store,
        pending: PendingCalls,
        pending_timeout_s: float,
        on_enqueued: Callable[[], None],
        clock: Clock,
        bus: EventBus,
    ) -> None:
        self._store = store
        self._pending = pending
        self._pending_timeout_s = pending_timeout_s
        self._on_enqueued = on_enqueued
        self._clock = clock
        self._bus = bus

    async def run(self) -> None:
        """
        Sweep every so often, until cancelled.
        """
        while True:
            await self._clock.sleep(SWEEP_S)
            try:
                await self.sweep()
            except StoreUnavailableError as error:
                _LOG.warning("the sweep has to wait: %s", error)

    async def sweep(self) -> None:
        """
        End what is overdue and forget what is old.

        Raises:
            StoreUnavailableError: Nothing was done.
        """
        expired = await self._store.sweep()
        for call in expired:
            with trace_scope(call.trace_id):
                self._bus.publish(
                    PendingCallExpired(
                        tool=call.tool,
                        tool_call_id=call.tool_call_id,
                        timeout_s=self._pending_timeout_s,
                    )
                )
            self._pending.notify(call.tool_call_id)
        if expired:
            self._on_enqueued()
