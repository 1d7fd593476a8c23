"""
What the processes of one mock say to each other.

One process keeps all state and decides every answer. The others take connections off
its hands: they read the requests, ask it, and write what it says.
"""

from mock_server.forwarding.channel import Channel
from mock_server.forwarding.frames import (
    Acked,
    Asked,
    Closing,
    Cut,
    Data,
    Dropped,
    Ended,
    FromOwner,
    FromWorker,
    Gone,
    Ready,
    Setup,
    Shipped,
    Wrote,
)
from mock_server.forwarding.request import (
    REFUSALS,
    ForwardedBody,
    ForwardedRequest,
    refusal_number,
)
from mock_server.forwarding.shipping import ShippingWriter, is_shippable, unpack_plan

__all__ = [
    "REFUSALS",
    "Acked",
    "Asked",
    "Channel",
    "Closing",
    "Cut",
    "Data",
    "Dropped",
    "Ended",
    "ForwardedBody",
    "ForwardedRequest",
    "FromOwner",
    "FromWorker",
    "Gone",
    "Ready",
    "Setup",
    "Shipped",
    "ShippingWriter",
    "Wrote",
    "is_shippable",
    "refusal_number",
    "unpack_plan",
]
