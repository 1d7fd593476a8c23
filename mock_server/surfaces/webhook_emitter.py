"""
Sends signed webhooks: results of deferred tools, and the API's own events.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import aiohttp

from mock_server.core import Core
from mock_server.faults import Emission, FaultContext, Target, asked_delay_s
from mock_server.injector import ActiveFault, Hit, Moment
from mock_server.latency import Sampler, sampler_of
from mock_server.script import WebhookEmitterScript
from mock_server.signatures import parse_secret
from mock_server.surfaces.api_events import (
    ApiEvent,
    Destination,
    Subscribers,
    emission_of,
    nobody,
)
from mock_server.surfaces.emission_jobs import Job, emission_of_tool, headers_of
from mock_server.surfaces.ports import CallKeys
from mock_server.surfaces.tool_backend import ToolOutcome

RECEIVE_PATH = "/webhook/callback"
_ANSWER_BYTES_MAX = 64 * 1024
_GONE = 410
_SUCCESS = range(200, 300)
_ASKED_DELAY_MAX_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterOptions:
    """
    Where webhooks go, and how they are signed.
    """

    service_url: str | None = None
    """The service; without it nothing is sent, and that is said."""

    secret: str | None = None
    """``whsec_…``; without it nothing is signed."""

    receive_path: str = RECEIVE_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    status: int | None
    asked_s: float | None = None


def _is_early(active: ActiveFault) -> bool:
    return active.fault.head_start_s is not None


def _is_not_early(active: ActiveFault) -> bool:
    return not _is_early(active)


class WebhookEmitter:
    """
    Sends each message until it is acknowledged or its attempts are used up.
    """

    def __init__(self, core: Core, options: EmitterOptions) -> None:
        self._core = core
        self._options = options
        self._own_keys = (parse_secret(options.secret),) if options.secret else ()
        self._script = WebhookEmitterScript.empty()
        self._latency: Sampler = sampler_of(None)
        self._session: aiohttp.ClientSession | None = None
        self._subscribers: Subscribers = nobody
        self._start: Callable[[Coroutine[None, None, None]], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(core.limits.emissions_at_once_max)
        self.dropped = 0

    @property
    def pending(self) -> int:
        """
        Messages that are neither acknowledged nor given up.
        """
        return len(self._tasks)

    def use(
        self, script: WebhookEmitterScript, *, subscribers: Subscribers = nobody
    ) -> None:
        """
        Send as this script says, the API's own events to these subscribers.
        """
        self._script = script
        self._subscribers = subscribers
        self._latency = sampler_of(script.latency)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Own the tasks that send; what is not sent at the end is given up.
        """
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=None)
        no_timeout = aiohttp.ClientTimeout(total=None)
        failure: Exception | None = None
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=no_timeout, auto_decompress=False
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            self._session = session

            def start(work: Coroutine[None, None, None]) -> None:
                task = group.create_task(work, name="emit webhook")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

            self._start = start
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below
                # Inside the group it would come out wrapped in another exception.
                failure = error
            finally:
                self._start = None
                self.forget()
        if failure is not None:
            raise failure

    def forget(self) -> None:
        """
        Give up everything that waits to be sent.
        """
        for task in self._tasks:
            task.cancel()

    def resolve(self, outcome: ToolOutcome) -> None:
        """
        Send the outcome of a deferred tool, after its delay.
        """
        self._schedule(self._job_of_tool(outcome, outcome.delay_s))

    async def resolve_early(self, outcome: ToolOutcome) -> bool:
        """
        Send the outcome before the tool has answered, if a fault wants it so.
        """
        if not len(self._core.injector):
            return False
        job = self._job_of_tool(outcome, 0.0)
        hits = self._choose(job, 1, fits=_is_early)
        if not hits:
            return False
        self._tell_faults(job, hits)
        taken = asyncio.Event()
        name = hits[0].active.fault.name
        self._schedule(replace(job, faults=(name,), taken=taken))
        longest_s = max(hit.active.fault.head_start_s or 0.0 for hit in hits)
        with suppress(TimeoutError):
            async with self._core.clock.timeout(longest_s):
                await taken.wait()
        return True

    def _job_of_tool(self, outcome: ToolOutcome, delay_s: float) -> Job:
        core = self._core
        occurred_s = core.clock.wall() + delay_s
        return Job(
            emission=emission_of_tool(outcome, core.draws, occurred_s),
            tool=outcome.tool,
            trace_id=outcome.trace_id,
            world=outcome.world,
            delay_s=delay_s,
        )

    def announce(self, event: ApiEvent) -> None:
        """
        Tell of one of the API's own events, once its time has come.

        It goes to the endpoints that are registered for it, else to the service; if
        there is neither, nobody is told.
        """
        if self._start is None or self._is_full:
            self.dropped += 1
            return
        self._start(self._announce(event))

    async def test(self, event: ApiEvent, destination: Destination) -> int | None:
        """
        Send an event once and return the status of the answer, None if there is none.
        """
        job = self._job_of(event, destination)
        emissions, faults = self._with_faults(job, 1)
        if not emissions:
            return None
        result = await self._send_all(job, emissions, 1, faults)
        return result.status

    async def _announce(self, event: ApiEvent) -> None:
        await self._core.clock.sleep(event.delay_s)
        if not event.is_due():
            return
        destinations = self._subscribers(event.world, event.event_type)
        if not destinations and self._options.service_url is not None:
            url = self._service_receiver
            destinations = [Destination(url=url, keys=self._own_keys)]
        for destination in destinations:
            self._schedule(self._job_of(event, destination))

    def _job_of(self, event: ApiEvent, destination: Destination) -> Job:
        core = self._core
        emission = emission_of(
            event, destination, draws=core.draws, created_s=int(core.clock.wall())
        )
        return Job(
            emission=emission,
            trace_id=event.trace_id,
            world=event.world,
            destination=destination,
            event=event,
        )

    @property
    def _service_receiver(self) -> str:
        return (self._options.service_url or "").rstrip(
            "/"
        ) + self._options.receive_path

    @property
    def _is_full(self) -> bool:
        return len(self._tasks) >= self._core.limits.emissions_max

    def _schedule(self, job: Job) -> None:
        reason = None
        if job.destination is None and self._options.service_url is None:
            reason = "no_service_url"
        elif self._start is None:
            reason = "stopped"
        elif self._is_full:
            reason = "emissions_max"
        if reason is not None or self._start is None:
            self.dropped += 1
            self._publish(job, job.emission, 0, None, [], reason)
            return
        self._start(self._deliver(job))

    async def _deliver(self, job: Job) -> None:
        clock = self._core.clock
        script = self._script
        draw = self._core.draws.draw(
            "latency", "webhook_emitter", job.emission.message_id
        )
        await clock.sleep(job.delay_s + self._latency.sample_s(draw))
        for attempt_number in range(1, script.attempts_max + 1):
            emissions, faults = self._with_faults(job, attempt_number)
            if not emissions:
                return
            result = await self._send_all(job, emissions, attempt_number, faults)
            if result.status in _SUCCESS or result.status == _GONE:
                return
            if attempt_number < script.attempts_max:
                backoff_s = min(
                    script.backoff_base_s * 2 ** (attempt_number - 1),
                    script.backoff_max_s,
                )
                asked_s = min(result.asked_s or 0.0, _ASKED_DELAY_MAX_S)
                await clock.sleep(max(backoff_s, asked_s))

    def _with_faults(
        self, job: Job, attempt_number: int
    ) -> tuple[tuple[Emission, ...], list[str]]:
        hits = self._choose(job, attempt_number, fits=_is_not_early)
        emissions: tuple[Emission, ...] = (job.emission,)
        for hit in hits:
            context = self._context(hit, job.emission.message_id, attempt_number)
            emissions = hit.active.fault.on_emission(emissions, context)
        self._tell_faults(job, hits)
        return emissions, [*job.faults, *(hit.active.fault.name for hit in hits)]

    def _choose(
        self, job: Job, attempt_number: int, *, fits: Callable[[ActiveFault], bool]
    ) -> tuple[Hit, ...]:
        core = self._core
        moment = Moment(
            target=Target.WEBHOOK_EMITTER,
            world=job.world,
            keys=CallKeys(
                conversation=job.emission.tool_call_id or job.emission.message_id,
                turn=0,
                attempt_number=attempt_number,
            ),
            scenario_s=core.time.elapsed_s,
            tools=() if job.tool is None else (job.tool,),
            headers={},
            fits=fits,
        )
        return core.injector.choose(moment)

    def _tell_faults(self, job: Job, hits: tuple[Hit, ...]) -> None:
        core = self._core
        for hit in hits:
            name = hit.active.fault.name
            core.metrics.faults[name, Target.WEBHOOK_EMITTER] += 1
            core.events.publish(
                "fault_applied",
                trace_id=job.trace_id,
                fault_id=hit.active.fault_id,
                fault=name,
                surface=Target.WEBHOOK_EMITTER,
                request_id=job.emission.message_id,
                draw=hit.draw,
            )

    def _context(self, hit: Hit, message_id: str, attempt_number: int) -> FaultContext:
        core = self._core
        return FaultContext(
            target=Target.WEBHOOK_EMITTER,
            stream=False,
            request_id=message_id,
            wall_s=core.clock.wall(),
            draw=lambda purpose: core.draws.draw(
                "fault-detail", hit.active.fault_id, purpose, message_id, attempt_number
            ),
        )

    async def _send_all(
        self,
        job: Job,
        emissions: tuple[Emission, ...],
        attempt_number: int,
        faults: list[str],
    ) -> _Result:
        """
        Send them at the same moment, each after its own delay; return the first's end.
        """
        if len(emissions) == 1:
            return await self._send(job, emissions[0], attempt_number, faults)
        async with asyncio.TaskGroup() as group:
            first, *_ = [
                group.create_task(self._send(job, emission, attempt_number, faults))
                for emission in emissions
            ]
        return first.result()

    async def _send(
        self, job: Job, emission: Emission, attempt_number: int, faults: list[str]
    ) -> _Result:
        clock = self._core.clock
        if emission.delay_s > 0:
            await clock.sleep(emission.delay_s)
        reason = None
        result = _Result(status=None)
        async with self._slots:
            try:
                async with clock.timeout(self._script.timeout_s):
                    result = await self._post(job, emission)
            except TimeoutError:
                reason = "timeout"
            except (aiohttp.ClientError, OSError) as error:
                reason = type(error).__name__
        self._publish(job, emission, attempt_number, result.status, faults, reason)
        if job.taken is not None:
            job.taken.set()
        return result

    async def _post(self, job: Job, emission: Emission) -> _Result:
        if self._session is None:
            return _Result(status=None)
        async with self._session.post(
            job.destination.url if job.destination else self._service_receiver,
            data=emission.sent_body,
            headers=headers_of(
                job,
                emission,
                wall_s=self._core.clock.wall(),
                own_keys=self._own_keys,
                draws=self._core.draws,
            ),
            allow_redirects=False,
        ) as response:
            await response.content.read(_ANSWER_BYTES_MAX)
            asked_s = asked_delay_s(
                tuple(response.headers.items()), self._core.clock.wall()
            )
            return _Result(status=response.status, asked_s=asked_s)

    def _publish(
        self,
        job: Job,
        emission: Emission,
        attempt_number: int,
        status: int | None,
        faults: list[str],
        reason: str | None,
    ) -> None:
        self._core.metrics.emissions[str(status)] += 1
        fields: dict[str, str | None] = {} if reason is None else {"reason": reason}
        if job.event is not None:
            fields["object_id"] = job.event.object_id
        if job.destination is not None:
            fields["endpoint_id"] = job.destination.endpoint_id
        self._core.events.publish(
            "webhook_emitted",
            trace_id=job.trace_id,
            message_id=emission.message_id,
            event_type=emission.event_type,
            tool_call_id=emission.tool_call_id,
            attempt_number=attempt_number,
            status=status,
            faults=faults,
            **fields,
        )
