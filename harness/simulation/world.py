"""
The mock and the service under test as simulated hosts.

Both run on the loop of the run, each in a context of its own; what they say goes
straight into the event log, in the order in which it is said. The service keeps its
store on a disk of its own, which a crash leaves as it was.
"""

import asyncio
import collections
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.bench import (
    RunLog,
    service_environment,
    service_settings,
    webhook_secret,
)
from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import EscapeError, SubjectError, UsageError
from harness.events import Envelope
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.scenario import Scenario
from harness.service import running_service
from harness.settings import ServiceSettings
from harness.simulation.hosts import Host
from harness.simulation.life import current_life
from harness.simulation.loop import WALL_EPOCH_S, SimLoop
from harness.telemetry import to_record
from mock_server import MockOptions, RunningMock, running_mock

MOCK_PORT: Final = 4010
SERVICE_PORT: Final = 8000

IDLE_S_MAX: Final = 300.0
"""So long after the last word connections that are kept for reuse are surely closed."""

_IDLE_STEP_S: Final = 5.0

TASKS_NAMED_MAX: Final = 10
"""How many tasks that are left are named in the event log."""

LAST_LINES_MAX: Final = 20
"""How many lines of a program's traceback are quoted."""

_ADDRESS: Final = "127.0.0.1"

Record = Mapping[str, Any]
Main = Callable[[Callable[[], None]], Awaitable[None]]
"""A program; it is given what to call when it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """
    The power of the service fails, and comes back.
    """

    at: Callable[[Record], bool]
    """Says at which record; the crash comes before anything else happens."""

    from_s: float = 0.0
    """Scenario time before which no record is looked at."""

    down_s: float = 1.0
    """After how long the service starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualWorldOptions:
    """
    What is simulated, and from which seed.
    """

    scenario: Scenario
    seed: int
    run_dir: Path
    """The service's disk is a folder in it."""

    crashes: Sequence[Crash] = ()
    """One after the other; each comes once."""


class VirtualWorld:
    """
    Starts mock and service on the running loop, crashes the service, stops both.

    Attributes:
        mode: ``virtual``.
        mock_url: Where the mock listens.
        service_url: Where the service listens.
    """

    def __init__(self, options: VirtualWorldOptions) -> None:
        self.mode = "virtual"
        self.mock_url = f"http://{_ADDRESS}:{MOCK_PORT}"
        self.service_url = f"http://{_ADDRESS}:{SERVICE_PORT}"
        self._options = options
        self._secret = webhook_secret(options.seed)
        self._randomness = Randomness(options.seed)
        self._log: RunLog | None = None
        self._zero_s: float | None = None
        self._tasks_before: collections.Counter[str] = collections.Counter()
        self._connections_before = 0
        self._crashes = collections.deque(options.crashes)
        self._restart_s: float | None = None
        self._crashed = asyncio.Event()
        self._running_mock: RunningMock | None = None
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SimLoop):
            raise EscapeError(
                what="a virtual world on a loop whose time is real",
                instead="run it with run_virtual()",
            )
        self._loop = loop
        self._clock = LoopClock(WALL_EPOCH_S, loop=loop)
        self._disk = options.run_dir / "data"
        self._mock = _Program(Host(loop=loop, name="mock"), self._run_mock)
        self._service = _Program(
            Host(loop=loop, name="service", disk=self._disk), self._run_service
        )

    def attach(self, log: RunLog) -> None:
        """
        Let what mock and service say go to this log.
        """
        self._log = log

    async def start(self) -> None:
        """
        Start the mock, then the service, each ready before the next step.

        Raises:
            SubjectError: One of them did not get ready.
            UsageError: The folder holds the disk of an earlier run.
        """
        if self._disk.exists():
            message = f"{self._disk} is the disk of an earlier run: give another folder"
            raise UsageError(message)
        self._disk.mkdir(parents=True)
        await self._mock.start()
        await self._service.start()

    async def stop(self) -> None:
        """
        Measure what the service holds at rest, stop it, then the mock.
        """
        if self._zero_s is not None and self._service.host.is_up:
            await self._let_connections_close()
            self._measure("end")
        await self._service.stop()
        await self._mock.stop()

    @property
    def is_settled(self) -> bool:
        """
        Whether the service is up; after a crash it is not, until it has started again.
        """
        return self._restart_s is None

    async def start_scenario(self, zero_s: float) -> None:
        """
        Tell the mock which point of the clock is scenario time zero.
        """
        self._zero_s = zero_s
        if self._running_mock is not None:
            self._running_mock.mock.core.time.start(at_s=zero_s)
        self._measure("start")

    async def kill_service(self) -> None:
        """
        Cut the power of the service.
        """
        self._service.crash()

    async def restart_service(self) -> None:
        """
        Start the service again at the same address, over what its disk kept.
        """
        await self._service.start()

    async def watch(self) -> None:
        """
        Make sure, until cancelled, that neither mock nor service ends by itself.

        Raises:
            SubjectError: One did; the end of its traceback is in the error.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mock.watch(), name="watch the mock")
            tasks.create_task(self._service.watch(), name="watch the service")
            tasks.create_task(self._restart_crashed(), name="restart the service")

    async def _run_mock(self, ready: Callable[[], None]) -> None:
        options = self._options
        async with running_mock(
            options.scenario,
            MockOptions(
                host=_ADDRESS,
                port=MOCK_PORT,
                seed=options.seed,
                service_url=self.service_url,
                webhook_secret=self._secret,
            ),
            clock=self._clock,
            source=options.scenario.mock_document(),
            listener=lambda record: self._take(dict(record), host="mock"),
        ) as running:
            self._running_mock = running
            ready()
            await _for_ever()

    async def _run_service(self, ready: Callable[[], None]) -> None:
        life = current_life()
        bus = EventBus(clock=self._clock)

        def listen(envelope: Envelope) -> None:
            if life.is_alive:
                self._take(to_record(envelope), host="service")

        with bus.listening(listen):
            async with running_service(
                self._settings(),
                clock=self._clock,
                randomness=Randomness(self._options.seed),
                # A store outlives its host: no life may mint what an earlier one did.
                ids=IdMint(self._randomness.stream(f"ids/{life.number - 1}")),
                bus=bus,
                is_simulated=True,
            ):
                ready()
                await _for_ever()

    def _settings(self) -> ServiceSettings:
        options = self._options
        base = ServiceSettings.model_validate(service_settings(options.scenario))
        environment = service_environment(
            mock_url=self.mock_url,
            port=SERVICE_PORT,
            secret=self._secret,
            data_dir=self._disk,
        )
        # Wherever a scenario wants its store, a simulated host has one disk.
        environment["STORE_URL"] = f"sqlite:///{self._disk.absolute()}/service.sqlite"
        return ServiceSettings.from_environment(environment, base)

    def _take(self, record: dict[str, Any], *, host: str) -> None:
        if self._log is not None:
            self._log.take(record, host=host)
            if self._crashes and self._is_due(self._crashes[0], record):
                self._crash(self._crashes.popleft(), self._log)

    def _is_due(self, crash: Crash, record: Record) -> bool:
        if self._zero_s is None or not self._service.host.is_up:
            return False
        at_s = self._clock.monotonic() - self._zero_s
        return at_s >= crash.from_s and crash.at(record)

    def _crash(self, crash: Crash, log: RunLog) -> None:
        log.record("service_killed")
        self._service.crash()
        self._restart_s = self._clock.monotonic() + crash.down_s
        self._crashed.set()

    async def _restart_crashed(self) -> None:
        while True:
            await self._crashed.wait()
            self._crashed.clear()
            due_s = self._restart_s
            if due_s is None:
                continue
            await self._clock.sleep(due_s - self._clock.monotonic())
            await self._service.start()
            # It may have crashed again before it was ready.
            if self._restart_s == due_s:
                self._restart_s = None
                self._note_restart()

    async def _let_connections_close(self) -> None:
        patience_s = IDLE_S_MAX
        while patience_s > 0 and self._connections > self._connections_before:
            await self._clock.sleep(_IDLE_STEP_S)
            patience_s -= _IDLE_STEP_S

    @property
    def _connections(self) -> int:
        life = self._service.host.life
        return sum(1 for end in self._loop.network.ends if end.life is life)

    def _measure(self, phase: str) -> None:
        """
        Write down what the service holds while it has nothing to do.
        """
        life = self._service.host.life
        tasks = self._loop.tasks_of(life)
        kinds = collections.Counter(_kind_of(name) for name in tasks)
        if phase == "start":
            self._tasks_before = kinds
            self._connections_before = self._connections
        more = sorted((kinds - self._tasks_before).elements())
        if self._log is not None:
            self._log.record(
                "service_measured",
                phase=phase,
                tasks=len(tasks),
                connections=self._connections,
                more_tasks=more[:TASKS_NAMED_MAX],
            )

    def _note_restart(self) -> None:
        if self._log is not None:
            self._log.record("service_restarted")


class _Program:
    """
    What runs on a host, and whether it got ready or ended by itself.
    """

    def __init__(self, host: Host, main: Main) -> None:
        self.host = host
        self._main = main
        self._settled = asyncio.Event()
        self._failed = asyncio.Event()
        self._error: Exception | None = None

    async def start(self) -> None:
        """
        Start the host and return once its program is ready, or was crashed before.

        Raises:
            SubjectError: The program ended instead.
        """
        self._settled.clear()
        self.host.start(self._run)
        await self._settled.wait()
        if self._error is not None:
            raise self._failure(self._error)

    async def stop(self) -> None:
        """
        Let the program tidy up; what does not run is passed over.
        """
        await self.host.stop()

    def crash(self) -> None:
        """
        Cut the power, if it is on.
        """
        if self.host.is_up:
            self.host.crash()
            self._settled.set()

    async def watch(self) -> None:
        """
        Raise once the program has ended by itself.
        """
        await self._failed.wait()
        if self._error is not None:
            raise self._failure(self._error)

    async def _run(self) -> None:
        try:
            await self._main(self._settled.set)
        except Exception as error:  # noqa: BLE001 - whatever ends it is told to whoever watches
            self._error = error
            self._failed.set()
        self._settled.set()

    def _failure(self, error: Exception) -> SubjectError:
        lines = "".join(traceback.format_exception(error)).splitlines()
        message = f"the {self.host.name} ended by itself: {error!r}"
        return SubjectError(message, last_lines=lines[-LAST_LINES_MAX:])


def _kind_of(task_name: str) -> str:
    """
    Return a task's name without what makes it different from its likes.
    """
    return re.sub(r"[-#]?\d+", "", task_name)


async def _for_ever() -> None:
    await asyncio.Event().wait()
