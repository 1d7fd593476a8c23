"""
What an answer is made of is freed as it ends, not when somebody looks for garbage.
"""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from harness.testing import WALL_EPOCH_S, run_virtual
from mock_server import LoopClock, MockOptions
from mock_server.fault_context import FaultContexts
from mock_server.forwarding.request import ForwardedConnection
from mock_server.testing import mock_in_test

SCRIPT = """
upstream:
  script:
    - reply: {text: "one two three"}
  faults:
    - {fault: status, injection_rate: 0.5}
    - {fault: arguments, kind: truncated, injection_rate: 0.5}
"""
CHATS = 20


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def contexts() -> list[FaultContexts]:
    """
    Return all that are in memory.
    """
    return [each for each in gc.get_objects() if isinstance(each, FaultContexts)]


def test_a_chat_with_faults_leaves_none_of_their_contexts() -> None:
    """
    Whether a fault hits or not, what it was asked with is gone with the answer.
    """

    async def main() -> tuple[set[int | None], int]:
        clock = LoopClock(WALL_EPOCH_S)
        async with mock_in_test(
            SCRIPT, MockOptions(port=0, seed=3), clock=clock
        ) as mock:
            before = contexts()
            statuses = {(await mock.chat(f"chat {n}")).status for n in range(CHATS)}
            return statuses, len(contexts()) - len(before)

    statuses, left = run_virtual(main, seed=1)

    assert len(statuses) == 2
    assert left == 0


async def test_a_connection_elsewhere_is_freed_with_its_request() -> None:
    """
    What stands for a connection that another process holds lives as long as its answer.
    """
    sent: list[object] = []
    connection = ForwardedConnection(1, sent.append, asyncio.get_running_loop())
    transport = connection.transport
    assert transport is not None
    transport.write(b"the answer")
    freed = weakref.ref(connection)

    assert connection.end() == b"the answer"
    del connection, transport

    assert freed() is None
    assert sent == []
