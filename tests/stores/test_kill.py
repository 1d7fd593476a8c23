"""
A real process, really killed: what was acknowledged is there.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.clock import LoopClock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.stores import SqliteStore

SCRIPT = Path(__file__).with_name("enqueue_until_killed.py")


def acknowledged_until_killed(store: Path, *, after: int) -> set[str]:
    """
    Run the script, kill it after so many acknowledgements, and return all of them.
    """
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, str(SCRIPT), str(store)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        process.kill()
        lines += process.stdout.readlines()
    return {line.strip() for line in lines if line.endswith("\n")}


@pytest.mark.sockets
@pytest.mark.parametrize("after", [1, 150, 1000])
async def test_every_acknowledged_id_survives(tmp_path: Path, after: int) -> None:
    """
    Killed in the middle of group commits, the store holds every acknowledged message.
    """
    path = tmp_path / "store.db"

    acknowledged = acknowledged_until_killed(path, after=after)
    acknowledged |= acknowledged_until_killed(path, after=after)

    store = SqliteStore(path, clock=LoopClock(), ids=IdMint(), randomness=Randomness(1))
    await store.open()
    claimed = await store.claim(owner="me", lease_s=30.0, room={"default": 1_000_000})
    await store.close()
    assert len(acknowledged) >= 2 * after
    assert acknowledged - {each.message_id for each in claimed} == set()
    assert all(each.body == each.message_id.encode() * 10 for each in claimed)
