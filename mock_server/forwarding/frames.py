"""
The frames between the process that decides and those that hold connections.
"""

import msgspec


class Frame(msgspec.Struct, array_like=True, gc=False):
    """
    One message.
    """


# From a worker ------------------------------------------------------------------------


class Asked(Frame, tag=1):
    """
    A request came in, read whole.
    """

    number: int
    """Names the exchange on this channel."""

    method: str
    path: bytes
    """With its query, as it was sent."""

    minor_version: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_s: float
    """By the monotonic clock, which the processes of one machine share."""

    is_kept_alive: bool
    is_reused: bool
    refusal: int | None = None
    """The body could not be read: which error that is."""


class Came(Frame, tag=6):
    """
    A request came in, all of it in one piece, and was not read.
    """

    number: int
    """Names the exchange on this channel."""

    data: bytes
    received_s: float
    """By the monotonic clock, which the processes of one machine share."""

    is_reused: bool


class Gone(Frame, tag=2):
    """
    The client went away before its answer was complete.
    """

    number: int


class Wrote(Frame, tag=3):
    """
    How a plan that was shipped has ended, or is about to in the next moment.
    """

    number: int
    status: int | None
    outcome: str
    planned_s: float
    body: bytes
    """The first bytes of the body."""

    body_bytes: int


class Acked(Frame, tag=4):
    """
    So many bytes have left for the client.
    """

    number: int
    data_bytes: int


class Ready(Frame, tag=5):
    """
    The worker can take connections.
    """


FromWorker = Ready | Asked | Came | Gone | Wrote | Acked


# To a worker --------------------------------------------------------------------------


class Setup(Frame, tag=11):
    """
    What a worker has to know of the mock's limits.
    """

    request_body_bytes_max: int
    request_read_timeout_s: float
    journal_body_bytes_max: int


class Data(Frame, tag=12):
    """
    A piece of an answer.
    """

    number: int
    data: bytes


class Ended(Frame, tag=13):
    """
    The rest of an answer.
    """

    number: int
    data: bytes
    is_kept_alive: bool


class Shipped(Frame, tag=14):
    """
    An answer as a plan, which the worker carries out.
    """

    number: int
    steps: list[tuple[object, ...]]
    delays_s: list[float]
    """How long each paced chunk waits."""

    is_timed: bool
    """The header that tells the time it took is to be added."""


class Dropped(Frame, tag=15):
    """
    The connection is to be closed in the middle of an answer.
    """

    number: int


class Returned(Frame, tag=18):
    """
    A request that was not read is no request that can be: who holds it deals with it.
    """

    number: int


class Closing(Frame, tag=16):
    """
    The mock stops: whatever hangs ends.
    """


class Cut(Frame, tag=17):
    """
    All connections are to be cut: the listener is closed for a while.
    """


FromOwner = Setup | Data | Ended | Shipped | Dropped | Returned | Closing | Cut
