"""
What the processes of one mock say to each other.

One process keeps all state and decides every answer. The others take connections off
its hands: they read the requests, ask it, and write what it says.
"""

from mock_server.forwarding.channel import Channel
from mock_server.forwarding.frames import (
    Acked,
    Asked,
    Came,
    Closing,
    Cut,
    Data,
    Dropped,
    Ended,
    FromOwner,
    FromWorker,
    Gone,
    Ready,
    Returned,
    Setup,
    Shipped,
    Wrote,
)
from mock_server.forwarding.reader import UnreadReader
from mock_server.forwarding.request import (
    REFUSALS,
    Forwarded,
    ForwardedBody,
    ForwardedRequest,
    UnreadRequest,
    forwarded,
    refusal_number,
)
from mock_server.forwarding.shipping import ShippingWriter, is_shippable, unpack_plan
from mock_server.forwarding.whole import is_whole

__all__ = [
    "REFUSALS",
    "Acked",
    "Asked",
    "Came",
    "Channel",
    "Closing",
    "Cut",
    "Data",
    "Dropped",
    "Ended",
    "Forwarded",
    "ForwardedBody",
    "ForwardedRequest",
    "FromOwner",
    "FromWorker",
    "Gone",
    "Ready",
    "Returned",
    "Setup",
    "Shipped",
    "ShippingWriter",
    "UnreadReader",
    "UnreadRequest",
    "Wrote",
    "forwarded",
    "is_shippable",
    "is_whole",
    "refusal_number",
    "unpack_plan",
]
