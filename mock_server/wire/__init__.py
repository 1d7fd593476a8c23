"""
The OpenAI shapes: requests, replies, errors, streams.
"""

from mock_server.wire.plan import (
    Chunk,
    Close,
    CutAfter,
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
    "CutAfter",
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
