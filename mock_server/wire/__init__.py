"""
The OpenAI shapes: requests, replies, errors, streams.
"""

from mock_server.wire.plan import (
    Chunk,
    Close,
    End,
    Hang,
    Head,
    Pace,
    Part,
    Plan,
    Reset,
    Step,
    Wait,
)

__all__ = [
    "Chunk",
    "Close",
    "End",
    "Hang",
    "Head",
    "Pace",
    "Part",
    "Plan",
    "Reset",
    "Step",
    "Wait",
]
