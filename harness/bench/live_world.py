"""
The mock and the service under test as processes of their own.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import orjson

from harness.bench.ports import free_port
from harness.bench.run_log import RunLog
from harness.bench.runner import RunOptions
from harness.bench.subject import Subject, SubjectOptions, is_well
from harness.bench.surroundings import (
    service_environment,
    service_settings,
    webhook_secret,
)
from harness.clock import Clock
from harness.errors import SubjectError
from harness.scenario import Scenario

_CONTROL_TIMEOUT_S = 10.0
_WATCH_INTERVAL_S = 0.2
_TARGET_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorldOptions:
    """
    What is started, and what it is told.
    """

    run_dir: Path
    seed: int
    mock_script: Mapping[str, Any]
    """The surfaces of the mock, as a scenario file says them."""

    service_settings: Mapping[str, Any]
    """Settings of the reference service, as a settings file says them."""

    command: str | None = None
    """Starts another service than the reference one."""

    target_url: str | None = None
    """A service that already runs; nothing is started for it."""

    health_path: str | None = "/healthz"
    """None where the service has none: it is ready once it accepts connections."""

    mock_port: int | None = None
    """None takes a free one."""


class LiveWorld:
    """
    Starts mock and service, restarts the service, and stops both.

    Attributes:
        mode: ``live``.
        mock_url: Where the mock listens.
        service_url: Where the service under test listens.
    """

    def __init__(self, options: LiveWorldOptions, *, clock: Clock) -> None:
        self.mode = "live"
        self.mock_url = ""
        self.service_url = options.target_url or ""
        self._options = options
        self._clock = clock
        self._mock_log = options.run_dir / "mock.jsonl"
        self._service_log = options.run_dir / "service.jsonl"
        self._webhook_secret = webhook_secret(options.seed)
        self._service_port = free_port()
        self._mock: Subject | None = None
        self._service: Subject | None = None

    def attach(self, log: RunLog) -> None:
        """
        Let the log follow the files that mock and service write.
        """
        log.follow(self._mock_log, host="mock")
        log.follow(self._service_log, host="service")

    async def start(self) -> None:
        """
        Start the mock, then the service, each ready before the next step.

        Raises:
            SubjectError: One of them did not get ready.
        """
        await self._start_mock()
        if self._options.target_url is None:
            await self._start_service()
        else:
            await self._find_target(self._options.target_url)

    async def stop(self) -> None:
        """
        Stop the service, then the mock; what never started is passed over.
        """
        try:
            if self._service is not None:
                await self._service.stop()
        finally:
            if self._mock is not None:
                await self._mock.stop()

    async def kill_service(self) -> None:
        """
        End the service as a power cut would.

        Raises:
            SubjectError: The service is not the bench's own.
        """
        if self._service is None:
            message = (
                "only a service that the bench started can be killed: use --command"
            )
            raise SubjectError(message)
        killed, self._service = self._service, None
        await killed.kill()

    async def restart_service(self) -> None:
        """
        Start the service again at the same address, over what its disk kept.
        """
        await self._start_service()

    @property
    def is_settled(self) -> bool:
        """
        Whether nothing is about to be restarted: whoever kills waits for the restart.
        """
        return True

    async def watch(self) -> None:
        """
        Make sure, until cancelled, that neither process ends by itself.

        Raises:
            SubjectError: One did; its last lines are in the error.
        """
        while True:
            await self._clock.sleep(_WATCH_INTERVAL_S)
            for name, subject in (("mock", self._mock), ("service", self._service)):
                if subject is not None and subject.exit_code is not None:
                    message = f"the {name} ended with exit code {subject.exit_code} during the run"
                    raise SubjectError(message, last_lines=subject.last_lines())

    async def start_scenario(self, zero_s: float) -> None:
        """
        Tell the mock which point of the monotonic clock is scenario time zero.

        Raises:
            SubjectError: The mock does not answer.
        """
        timeout = aiohttp.ClientTimeout(total=_CONTROL_TIMEOUT_S)
        url = urljoin(self.mock_url, "/_mock/start")
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json={"at_s": zero_s}) as answer,
            ):
                if not answer.ok:
                    message = f"the mock refuses to start the scenario: {answer.status}"
                    raise SubjectError(message, last_lines=[await answer.text()])
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"the mock does not answer: {error}"
            raise SubjectError(
                message, last_lines=self._last_lines(self._mock)
            ) from error

    def environment(self) -> dict[str, str]:
        """
        Return what a service under test is given to find its way.
        """
        return service_environment(
            mock_url=self.mock_url,
            port=self._service_port,
            secret=self._webhook_secret,
            data_dir=self._options.run_dir / "data",
        )

    async def _start_mock(self) -> None:
        options = self._options
        script_file = options.run_dir / "mock.json"
        script_file.write_bytes(orjson.dumps(dict(options.mock_script)))
        self._service_port = free_port()
        service_url = options.target_url or f"http://127.0.0.1:{self._service_port}"
        self._mock = Subject(
            SubjectOptions(
                name="mock",
                command=[
                    *(sys.executable, "-m", "mock_server"),
                    *("--script", str(script_file)),
                    *("--port", str(options.mock_port or 0)),
                    *("--seed", str(options.seed)),
                    *("--service-url", service_url),
                    *("--webhook-secret", self._webhook_secret),
                    *("--event-log", str(self._mock_log)),
                ],
                output_file=options.run_dir / "mock.out",
            ),
            clock=self._clock,
        )
        await self._mock.start()
        self.mock_url = self._mock.url
        self.service_url = service_url

    async def _find_target(self, target_url: str) -> None:
        """
        Wait for a service that somebody else started.
        """
        if self._options.health_path is None:
            return
        health_url = urljoin(target_url, self._options.health_path)
        try:
            async with self._clock.timeout(_TARGET_TIMEOUT_S):
                while not await is_well(health_url):
                    await self._clock.sleep(_WATCH_INTERVAL_S)
        except TimeoutError:
            message = f"no service is well at {health_url}: it has to run already"
            raise SubjectError(message) from None

    async def _start_service(self) -> None:
        options = self._options
        environment = self.environment()
        health_url, port = None, None
        (options.run_dir / "data").mkdir(exist_ok=True)
        if options.command is not None:
            command = shlex.split(options.command)
            port = self._service_port
            if options.health_path is not None:
                health_url = urljoin(self.service_url, options.health_path)
        else:
            settings_file = options.run_dir / "service.json"
            settings_file.write_bytes(orjson.dumps(dict(options.service_settings)))
            command = [
                *(sys.executable, "-m", "harness", "serve"),
                *("--settings", str(settings_file)),
            ]
            environment |= {
                "HARNESS_EVENT_LOG": str(self._service_log),
                "HARNESS_SEED": str(options.seed),
            }
        self._service = Subject(
            SubjectOptions(
                name="service",
                command=command,
                output_file=options.run_dir / "service.out",
                environment=environment,
                health_url=health_url,
                port=port,
            ),
            clock=self._clock,
        )
        await self._service.start()

    @staticmethod
    def _last_lines(subject: Subject | None) -> list[str]:
        return [] if subject is None else subject.last_lines()


def live_world(scenario: Scenario, options: RunOptions, *, clock: Clock) -> LiveWorld:
    """
    Return the world that a scenario asks for, not started yet.
    """
    return LiveWorld(
        LiveWorldOptions(
            run_dir=options.run_dir,
            seed=options.seed_for(scenario),
            mock_script=scenario.mock_document(),
            service_settings=service_settings(scenario),
            command=options.command,
            target_url=options.target_url,
            health_path=options.profile.health if options.profile else "/healthz",
            mock_port=options.mock_port,
        ),
        clock=clock,
    )
