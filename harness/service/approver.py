"""
The sample approver: whoever decides about refunds where there is no tool backend.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp

from harness.clock import Clock
from harness.ids import IdMint
from harness.orchestrator import OwnedTasks
from harness.tools import APPROVE_REFUND, ToolContext
from harness.webhooks import Secret, build_body, sign

APPROVAL_S: Final = 1.0
"""How long the sample approver thinks."""

APPROVALS_MAX: Final = 1_000
"""Approvals that are thought about at once."""

_LOG = logging.getLogger(__name__)


class SampleApprover:
    """
    Approves every refund after a second, by a signed webhook like anybody else's.

    Args:
        session: Its webhooks go out over it.
        secrets: What they are signed with.
        receiver_url: Says where they go.
        clock: Time.
        ids: Names the messages.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        secrets: Sequence[Secret],
        receiver_url: Callable[[], str],
        clock: Clock,
        ids: IdMint,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._receiver_url = receiver_url
        self._clock = clock
        self._ids = ids
        self._thinking = OwnedTasks(
            name="approvals_max", tasks_max=APPROVALS_MAX, clock=clock
        )

    async def run(self) -> None:
        """
        Own what is thought about until :meth:`stop`.
        """
        await self._thinking.run()

    async def wait_ready(self) -> None:
        """
        Return once it can be asked.
        """
        await self._thinking.wait_ready()

    async def stop(self) -> None:
        """
        Think no more; what is not decided is never told.
        """
        await self._thinking.stop(grace_s=0)

    async def approve(self, order_id: str, context: ToolContext) -> None:
        """
        Take the question; the answer comes by webhook.

        Raises:
            OverloadedError: It thinks about as many as it can.
        """
        self._thinking.check_room()
        self._thinking.start(
            self._decide(order_id, context), name=f"approve {context.tool_call_id}"
        )

    async def _decide(self, order_id: str, context: ToolContext) -> None:
        await self._clock.sleep(APPROVAL_S)
        message_id, now_s = self._ids.mint("msg"), self._clock.wall()
        result: dict[str, Any] = {"order_id": order_id, "approved": True}
        body = build_body(
            "function_call.completed",
            occurred_at_s=now_s,
            data={
                "call_id": context.tool_call_id,
                "function": APPROVE_REFUND.name,
                "result": result,
            },
        )
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now_s)),
            "webhook-signature": sign(
                message_id, int(now_s), body, secrets=self._secrets
            ),
        }
        try:
            async with self._session.post(
                self._receiver_url(), data=body, headers=headers
            ):
                return
        except (TimeoutError, aiohttp.ClientError) as error:
            _LOG.warning("the sample approver was not heard: %s", type(error).__name__)
