"""
The same seed gives the same run, byte for byte.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).with_name("chats.py")


def run(*, seed: int, hash_seed: int) -> str:
    """
    Run the program in a process of its own and return what it printed.
    """
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, str(PROGRAM), str(seed)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
    )
    assert ended.stderr == ""
    return ended.stdout


def test_the_same_seed_gives_the_same_bytes() -> None:
    """
    Two processes with other hash seeds and one program seed print the same.
    """
    first = run(seed=1, hash_seed=1)
    second = run(seed=1, hash_seed=4_242)

    assert first == second
    # The run was worth comparing: it had all that a run can have.
    assert first.count("\n") > 500
    for happening in ('"200"', '"503"', "TimeoutError", '"rst"', '"fin"'):
        assert happening in first


def test_another_seed_gives_another_run() -> None:
    """
    The seed decides the run: another one is seen on the wire.
    """
    assert run(seed=1, hash_seed=1) != run(seed=2, hash_seed=1)
