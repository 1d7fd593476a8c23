"""
A mock that is recorded, a recorder in front of it, and a mock that replays.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from mock_server import MockOptions, RunningMock, running_mock
from mock_server.clock import Clock
from mock_server.documents import parse_document
from mock_server.recorder import RecordOptions, RunningRecorder, running_recorder
from mock_server.script import script_of


@dataclass(frozen=True, slots=True)
class Bench:
    """
    The two ends of a recording, while it goes on.
    """

    upstream: RunningMock
    recorder: RunningRecorder
    out: Path
    said: StringIO

    @property
    def base_url(self) -> str:
        """
        What a client is given to be recorded.
        """
        return f"{self.recorder.url}/v1"


Recording = Callable[[str], AbstractAsyncContextManager[Bench]]
Replaying = Callable[..., AbstractAsyncContextManager[RunningMock]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """
    Where the script is written.
    """
    return tmp_path / "recorded.yaml"


@pytest.fixture
def written(out: Path) -> Callable[[], str]:
    """
    Read what was written.
    """
    return lambda: out.read_text(encoding="utf-8")


@pytest.fixture
def recording(clock: Clock, out: Path) -> Recording:
    """
    Run a scripted mock with a recorder in front of it.
    """

    @asynccontextmanager
    async def run(script: str) -> AsyncIterator[Bench]:
        said = StringIO()
        document = parse_document(script, file="script")
        async with running_mock(
            script_of(document), MockOptions(port=0), clock=clock
        ) as upstream:
            options = RecordOptions(upstream=upstream.base_url, out=out, port=0)
            async with running_recorder(options, clock=clock, errors=said) as recorder:
                yield Bench(upstream, recorder, out, said)

    return run


@pytest.fixture
def replaying(clock: Clock, written: Callable[[], str]) -> Replaying:
    """
    Run a mock of what was recorded, with another seed.
    """

    @asynccontextmanager
    async def run(*, speed: float = 1.0) -> AsyncIterator[RunningMock]:
        document = parse_document(written(), file="recorded.yaml")
        options = MockOptions(port=0, seed=99, speed=speed)
        async with running_mock(script_of(document), options, clock=clock) as running:
            yield running

    return run
