"""
The pytest plugin: virtual time, and what tests of a service need beside it.

A test or module marked ``virtual_time``, or a test that asks for the fixture of
that name, runs on a simulated loop: waiting costs nothing, servers and clients meet
in memory, and everything follows from a seed that a failure prints.

pytest loads this module wherever the package is installed, so it imports nothing
heavy.
"""

import asyncio
import importlib
import inspect
import zlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.simulation import WALL_EPOCH_S, LinkOptions, SimLoop
from harness.testing.recorder import Recorder

if TYPE_CHECKING:
    from harness.testing.mocks import MockUpstream, WebhookEndpoint
    from mock_server import MockOptions, RunningMock

MARKER: Final = "virtual_time"

_MARKER_OPTIONS: Final = frozenset({"seed", "latency_s", "steps_max"})

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Collected = pytest.Item | pytest.Collector | list[pytest.Item | pytest.Collector] | None

_SEEDED: Final = frozenset({MARKER, "randomness"})
"""Fixtures that make a test depend on its seed."""

try:
    from pytest_asyncio import fixture as _async_fixture
except ImportError:
    _async_fixture = pytest.fixture  # type: ignore[assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add ``--harness-seed``.
    """
    parser.getgroup("harness").addoption(
        "--harness-seed",
        type=int,
        default=None,
        metavar="N",
        help="seed of virtual time, randomness and ids; by default each test has its own, the same every time",
    )


def pytest_configure(config: pytest.Config) -> None:
    """
    Register the marker.
    """
    config.addinivalue_line(
        "markers",
        f"{MARKER}(seed=None, latency_s=(0, 0), steps_max=None): run the test on a loop whose clock jumps, "
        "with sockets in memory",
    )


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Generator[None, Mapping[str, LoopFactory] | None, Mapping[str, LoopFactory]]:
    """
    Give pytest-asyncio the simulated loop for tests that want it.
    """
    others = yield
    if _is_virtual(item):
        return {MARKER: _loop_factory(item)}
    return others or {"asyncio": asyncio.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, object, object]:
    """
    Let pytest-asyncio ask for our loop, in its strict mode too.

    It decides about the loop when this hook is called, from marks of the definition.
    """
    _leave_to_asyncio(metafunc.definition)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Collected, Collected]:
    """
    Let pytest-asyncio run what wants virtual time, in its strict mode too.

    It decides about an item when it was made, from marks of the item: being the
    innermost of the wrappers, this one comes before that.
    """
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function):
            _leave_to_asyncio(item)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """
    Refuse to run a test in real time that wants virtual time.
    """
    function = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(function) or not _is_virtual(item):
        return
    if not item.config.hook.pytest_asyncio_loop_factories.has_spec():
        pytest.fail(
            f"{MARKER} needs a pytest-asyncio that asks for loop factories; "
            "without one, use harness.testing.in_virtual_time",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Print the seed under a failure.
    """
    report = yield
    names = _SEEDED.intersection(getattr(item, "fixturenames", ()))
    if report.failed and (names or _is_virtual(item)):
        again = f"pytest --harness-seed={_seed_of(item)} '{item.nodeid}'"
        report.sections.append(("seed", f"the same run again: {again}"))
    return report


def _leave_to_asyncio(item: pytest.Function) -> None:
    has_asyncio = item.config.hook.pytest_asyncio_loop_factories.has_spec()
    is_marked = item.get_closest_marker("asyncio") is not None
    if not has_asyncio or is_marked or not _is_virtual(item):
        return
    if inspect.iscoroutinefunction(item.obj):
        item.add_marker(pytest.mark.asyncio)


def _is_virtual(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARKER) is not None or MARKER in getattr(
        item, "fixturenames", ()
    )


def _marker_options(item: pytest.Item) -> dict[str, Any]:
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return {}
    if marker.args or not _MARKER_OPTIONS.issuperset(marker.kwargs):
        options = ", ".join(sorted(_MARKER_OPTIONS))
        message = f"{item.nodeid}: {MARKER} takes {options}, each by its name"
        raise pytest.UsageError(message)
    return dict(marker.kwargs)


def _seed_of(item: pytest.Item) -> int:
    chosen: int | None = item.config.getoption("--harness-seed")
    if chosen is None:
        chosen = _marker_options(item).get("seed")
    if chosen is not None:
        return chosen
    # From the name: tests differ from one another, but not from day to day. What
    # stands in brackets is not known yet when the loop is chosen.
    return zlib.crc32(item.nodeid.partition("[")[0].encode())


def _loop_factory(item: pytest.Item) -> LoopFactory:
    options = _marker_options(item)
    seed = _seed_of(item)
    latency_min_s, latency_max_s = options.get("latency_s", (0.0, 0.0))
    links = LinkOptions(latency_min_s=latency_min_s, latency_max_s=latency_max_s)
    limits = (
        {} if options.get("steps_max") is None else {"steps_max": options["steps_max"]}
    )
    return lambda: SimLoop(seed=seed, links=links, **limits)


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> LoopClock:
    """
    The clock of the test's loop.
    """
    return LoopClock(WALL_EPOCH_S if _is_virtual(request.node) else None)


@pytest.fixture
def randomness(request: pytest.FixtureRequest) -> Randomness:
    """
    Chance from the test's seed.
    """
    return Randomness(_seed_of(request.node))


@pytest.fixture
def ids(randomness: Randomness) -> IdMint:
    """
    Ids from the test's seed.
    """
    return IdMint(randomness.stream("ids"))


@pytest.fixture
def bus(clock: LoopClock) -> EventBus:
    """
    A bus on the test's clock.
    """
    return EventBus(clock=clock)


@pytest.fixture
def recorder(bus: EventBus) -> Iterator[Recorder]:
    """
    Everything that is published on ``bus``.
    """
    recorder = Recorder()
    with bus.listening(recorder.record):
        yield recorder


@_async_fixture
async def virtual_time() -> SimLoop:
    """
    The simulated loop of this test; asking for it is enough to run on one.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimLoop):
        pytest.fail("virtual_time needs an async test run by pytest-asyncio")
    return loop


@pytest.fixture
def mock_options(randomness: Randomness) -> "MockOptions":
    """
    How the test's mock is set up; override it to name the service's own address.
    """
    mocks = importlib.import_module("harness.testing.mocks")
    options: MockOptions = mocks.options_for_tests(randomness)
    return options


@_async_fixture
async def running_mock(mock_options: "MockOptions") -> AsyncIterator["RunningMock"]:
    """
    A mock of this test's own: model API, tools and webhooks on one port.
    """
    mock_server = importlib.import_module("mock_server")
    async with mock_server.running_mock(options=mock_options) as running:
        yield running


@pytest.fixture
def mock_upstream(running_mock: "RunningMock", ids: IdMint) -> "MockUpstream":
    """
    The model API and the tools, to be scripted and broken.
    """
    mocks = importlib.import_module("harness.testing.mocks")
    upstream: MockUpstream = mocks.MockUpstream(running_mock, api_key=ids.mint("sk"))
    return upstream


@pytest.fixture
def webhook_endpoint(
    running_mock: "RunningMock", mock_options: "MockOptions"
) -> "WebhookEndpoint":
    """
    The endpoint that takes what the service under test sends, and verifies it.
    """
    mocks = importlib.import_module("harness.testing.mocks")
    endpoint: WebhookEndpoint = mocks.WebhookEndpoint(
        running_mock, secret=mock_options.webhook_secret
    )
    return endpoint
