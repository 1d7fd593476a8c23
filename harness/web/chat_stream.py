"""
A chat's steps as server-sent events.
"""

from typing import Any

import orjson

from harness.orchestrator import CallerLeftError, FinishedCall, PlannedCall
from harness.web.sse import EventStream


class StreamListener:
    """
    Tells a chat's steps to whoever listens.

    Args:
        stream: Where they go.
        outlives_caller: Whether the chat goes on when nobody listens any more.
    """

    def __init__(self, stream: EventStream, *, outlives_caller: bool) -> None:
        self._stream = stream
        self._outlives_caller = outlives_caller

    async def delta(self, text: str) -> None:
        """
        Tell a piece of the answer's text.
        """
        await self.send("delta", {"text": text})

    async def tool_call(self, call: PlannedCall) -> None:
        """
        Tell that a tool call begins.
        """
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = call.arguments
        await self.send(
            "tool_call",
            {"name": call.name, "arguments": arguments, "call_id": call.call_id},
        )

    async def tool_result(self, finished: FinishedCall) -> None:
        """
        Tell what a tool call came to.
        """
        await self.send(
            "tool_result",
            {"call_id": finished.call.call_id, "result": finished.result},
        )

    async def send(self, name: str, data: Any) -> None:
        """
        Send one event.

        Raises:
            CallerLeftError: Nobody listens, and the chat is to end with that.
        """
        try:
            await self._stream.send(name, data)
        except CallerLeftError:
            if not self._outlives_caller:
                raise
