"""
One scenario, from its file to a verdict.
"""

import asyncio
import collections
import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

import harness
from harness.bench.driver import Driver, DriverOptions
from harness.bench.profile import Profile
from harness.bench.run_log import RunLog, read_records
from harness.bench.world import World
from harness.clock import Clock
from harness.errors import BenchError, HarnessError
from harness.judging import Judgement, judge
from harness.randomness import Randomness
from harness.report import REPORT_FILE, write_report
from harness.scenario import Arrival, Scenario, arrivals, planned_faults

START_LEAD_S = 0.3
"""How far ahead scenario time zero lies, so that the first arrival is not late."""

DRAIN_S_MAX = 60.0
"""How long outstanding webhooks are waited for after the last call has ended."""

QUIET_S = 1.5
"""So long nothing may happen before a run counts as drained."""

_CHECK_INTERVAL_S = 0.2
_VERSIONS_OF: Final = ("aiohttp", "apsw", "pydantic")

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """
    The service is killed as by a power cut, and started again.
    """

    at_s: float
    """Scenario time."""

    down_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    How a scenario is run.
    """

    run_dir: Path
    seed: int | None = None
    """None takes the scenario's own."""

    target_url: str | None = None
    command: str | None = None
    profile: Profile | None = None
    """What another service than the reference one promises."""

    mock_port: int | None = None
    kills: Sequence[Kill] = ()
    command_line: str = ""
    """How to run it again, for the report."""

    def seed_for(self, scenario: Scenario) -> int:
        """
        Return the seed of a run.
        """
        return scenario.seed if self.seed is None else self.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """
    What a run came to.
    """

    summary: Mapping[str, Any]
    report_file: Path
    last_lines: Sequence[str] = ()
    """The end of what a process printed that failed."""


@dataclass(slots=True)
class _Progress:
    """
    What is known while a run goes on.
    """

    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    """How many records of each kind there were."""

    last_record_s: float = 0.0
    failure: BenchError | None = None
    is_interrupted: bool = False


class ScenarioRun:
    """
    Starts everything, drives the load, waits until all has ended, and judges.

    Args:
        scenario: What to run.
        options: How.
        world: Where mock and service live.
        clock: Time.
        on_record: Told every record of the event log, in its order.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: RunOptions,
        *,
        world: World,
        clock: Clock,
        on_record: Callable[[Record], None] | None = None,
    ) -> None:
        self._scenario = scenario
        self._options = options
        self._world = world
        self._clock = clock
        self._on_record = on_record
        self._seed = options.seed_for(scenario)
        self._schedule = arrivals(scenario.workload, self._seed)
        self._promise = options.profile or scenario.promised()
        self._progress = _Progress()
        options.run_dir.mkdir(parents=True, exist_ok=True)
        self._log = RunLog(
            options.run_dir / "events.jsonl",
            clock=clock,
            listener=self._notice,
            is_in_order=world.mode == "virtual",
        )

    async def run(self) -> RunResult:
        """
        Run the scenario to its verdict.

        A cancelled run is stopped in order, and what was recorded is kept and judged;
        then the cancellation goes on.
        """
        try:
            await self.carry_out()
        except asyncio.CancelledError:
            self.conclude()
            raise
        return self.conclude()

    async def carry_out(self) -> None:
        """
        Run the scenario until all has ended and its event log is complete.

        What goes wrong with mock or service is kept for :meth:`conclude`.
        """
        reason = "finished"
        try:
            await self._run_to_end()
        except asyncio.CancelledError:
            self._progress.is_interrupted = True
            reason = "interrupted"
            raise
        except BenchError as error:
            self._progress.failure = error
        finally:
            if self._world.mode == "live":
                # The load of a minute: one look at its end tells enough.
                self._log.record("bench_sampled", load_per_core=load_per_core())
            self._log.record("run_ended", reason=reason)
            try:
                self._log.close()
            except BenchError as error:
                self._progress.failure = self._progress.failure or error

    def conclude(
        self, *, failure: HarnessError | None = None, writes_report: bool = True
    ) -> RunResult:
        """
        Judge what the event log holds, and write the run's files.

        Args:
            failure: What kept the run from its end, if the caller knows more.
            writes_report: Also write what people read; the summary comes back anyway.
        """
        progress = self._progress
        failure = failure or progress.failure
        records = read_records(self._options.run_dir / "events.jsonl")
        judgement = judge(
            self._scenario,
            records,
            promise=self._promise,
            is_live=self._world.mode == "live",
            failure=None if failure is None else str(failure),
            is_interrupted=progress.is_interrupted,
        )
        summary = self._summary(judgement)
        report_file = self._options.run_dir / REPORT_FILE
        if writes_report:
            write_report(self._options.run_dir, summary, records)
        return RunResult(
            summary=summary,
            report_file=report_file,
            last_lines=getattr(failure, "last_lines", ()),
        )

    async def _run_to_end(self) -> None:
        self._world.attach(self._log)
        try:
            await self._world.start()
            await self._drive()
        finally:
            await self._world.stop()

    async def _drive(self) -> None:
        zero_s = self._clock.monotonic() + START_LEAD_S
        self._log.set_zero(zero_s)
        await self._world.start_scenario(zero_s)
        self._write_manifest()
        self._log.record(
            "run_started",
            scenario=self._scenario.scenario,
            seed=self._seed,
            mode=self._world.mode,
        )
        try:
            async with asyncio.TaskGroup() as helpers:
                tasks = [
                    helpers.create_task(self._log.run(), name="merge the event logs"),
                    helpers.create_task(
                        self._world.watch(), name="watch the processes"
                    ),
                ]
                await self._send(zero_s)
                await self._drain()
                for task in tasks:
                    task.cancel()
        except* BenchError as group:
            # One cause is enough: the others follow from it.
            raise _first(group) from group

    async def _send(self, zero_s: float) -> None:
        timeout = aiohttp.ClientTimeout(total=None, ceil_threshold=float("inf"))
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
        ):
            driver = Driver(
                self._driver_options(),
                session=session,
                log=self._log,
                clock=self._clock,
                spans=Randomness(self._seed).stream("caller/spans"),
            )
            for kill in self._options.kills:
                tasks.create_task(self._kill(kill, zero_s), name=f"kill at {kill.at_s}")
            await driver.run(self._schedule, zero_s=zero_s)

    def _driver_options(self) -> DriverOptions:
        chat = self._promise.chat
        total_s = (
            self._promise.upstream.total_timeout if self._promise.upstream else None
        )
        settings: dict[str, Any] = {}
        if chat is not None:
            settings |= {
                "chat_path": chat.path,
                "body": chat.body,
                "answer_field": chat.answer,
            }
        if total_s is not None:
            settings["call_timeout_s"] = total_s + 30.0
        return DriverOptions(base_url=self._world.service_url, **settings)

    async def _kill(self, kill: Kill, zero_s: float) -> None:
        await self._clock.sleep(max(0.0, zero_s + kill.at_s - self._clock.monotonic()))
        self._log.record("service_killed")
        await self._world.kill_service()
        await self._clock.sleep(kill.down_s)
        await self._world.restart_service()
        self._log.record("service_restarted")

    async def _drain(self) -> None:
        """
        Wait until nothing is under way any more, or for as long as that may take.
        """
        give_up_s = self._clock.monotonic() + DRAIN_S_MAX
        while self._clock.monotonic() < give_up_s:
            await self._clock.sleep(_CHECK_INTERVAL_S)
            totals = self._progress.kinds
            ended = totals["webhook_delivered"] + totals["webhook_dead"]
            is_quiet = self._clock.monotonic() - self._progress.last_record_s > QUIET_S
            is_done = is_quiet and totals["webhook_enqueued"] <= ended
            if is_done and self._world.is_settled:
                return

    def _notice(self, record: Record) -> None:
        self._progress.kinds[record["kind"]] += 1
        self._progress.last_record_s = self._clock.monotonic()
        if self._on_record is not None:
            self._on_record(record)

    def _write_manifest(self) -> None:
        """
        Say what runs, for whoever watches the folder.
        """
        manifest = {
            "scenario": self._scenario.scenario,
            "title": self._scenario.title,
            "mode": self._world.mode,
            "seed": self._seed,
            "duration_s": self._scenario.duration_s,
            "mock_url": self._world.mock_url,
            "service_url": self._world.service_url,
        }
        (self._options.run_dir / "run.json").write_bytes(orjson.dumps(manifest))

    def _busy(self) -> dict[str, Any]:
        """
        Return how busy the machine was; in virtual time it does not matter.
        """
        return {"load_per_core": load_per_core()} if self._world.mode == "live" else {}

    def _summary(self, judgement: Judgement) -> dict[str, Any]:
        return {
            **judgement.to_json(),
            "scenario": self._scenario.scenario,
            "title": self._scenario.title,
            "mode": self._world.mode,
            "seed": self._seed,
            "completed": not self._progress.is_interrupted,
            "command": self._options.command_line,
            "planned_faults": [
                {
                    "target": fault.target,
                    "fault": fault.fault,
                    "from_s": fault.from_s,
                    "to_s": fault.to_s,
                }
                for fault in planned_faults(self._scenario)
            ],
            "environment": environment(),
            **self._busy(),
            "versions": versions(),
            "hashes": {
                "scenario": _hash(orjson.dumps(dict(self._scenario.source))),
                "schedule": schedule_hash(self._schedule),
            },
        }


def load_per_core() -> float:
    """
    Return how many processes want each core, over the last minute.
    """
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def environment() -> dict[str, Any]:
    """
    Return what a verdict was made on.
    """
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def versions() -> dict[str, str]:
    """
    Return the versions that a run depends on most.
    """
    return {"toolcall-harness": harness.__version__} | {
        name: metadata.version(name) for name in _VERSIONS_OF
    }


def schedule_hash(schedule: Sequence[Arrival]) -> str:
    """
    Return a hash over every arrival: the same schedule, the same hash.
    """
    lines = (
        f"{arrival.call_id} {arrival.intended_s:.6f} {arrival.mode} {arrival.message}\n"
        for arrival in schedule
    )
    return _hash("".join(lines).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _first(group: BaseExceptionGroup[HarnessError]) -> HarnessError:
    error = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
