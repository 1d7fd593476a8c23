"""
The life of a request: surface, faults, latency, bytes, and what is told of it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from mock_server.caller import api_key_of, trace_id_of
from mock_server.core import Core
from mock_server.fault_context import FaultContexts
from mock_server.faults import Level, Target
from mock_server.forwarding import ShippingWriter, forwarded, is_shippable
from mock_server.hashes import sha256_of
from mock_server.http_request import HttpRequest
from mock_server.injector import Moment
from mock_server.latency import LatencyProfile, Situation
from mock_server.quotas import Admission, Quotas
from mock_server.reporter import Decided, Reporter
from mock_server.request_body import body_at_hand, read_body
from mock_server.script import QuotasScript
from mock_server.surfaces.ports import (
    Answer,
    CallKeys,
    Facts,
    Latency,
    Surface,
    SurfaceRequest,
)
from mock_server.wire import (
    REQUEST_ID,
    ApiError,
    Pace,
    Plan,
    echo_request_id,
    error_plan,
)
from mock_server.worlds import World
from mock_server.writer import Outcome, PlanWriter, write_whole

DelayOf = Callable[[Pace, int], float]
"""How long a chunk of that pace waits, by its number."""

_NO_QUERY: MultiDictProxy[str] = MultiDictProxy(MultiDict())
_INSTANT: Final = LatencyProfile()
_UPSTREAM: Final = Target.UPSTREAM

FAILED: Final = ApiError(
    "The mock itself failed; its log says why.",
    status=500,
    type="server_error",
    code="mock_error",
)

logger = logging.getLogger(__name__)


class Exchange:
    """
    Answers requests by surfaces.

    Args:
        core: The parts of the mock.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reporter = Reporter(core)
        self._profiles: Mapping[tuple[Target, str | None], LatencyProfile] = {}
        self._is_instant = True
        self._quotas = Quotas(QuotasScript.empty())
        self._request_ids = core.draws.numbered_hex("req_", "request")
        self._used: WeakSet[asyncio.Transport] = WeakSet()

    def use_profiles(
        self, profiles: Mapping[tuple[Target, str | None], LatencyProfile]
    ) -> None:
        """
        Take these latencies, by surface and by the name of a tool or an endpoint.

        A name of None is for all that have none of their own.
        """
        self._profiles = profiles
        self._is_instant = all(p == _INSTANT for p in profiles.values())

    def use_quotas(self, quotas: Quotas) -> None:
        """
        Let in what these quotas let in; accounts belong to the worlds.
        """
        self._quotas = quotas

    async def serve(
        self, http: HttpRequest, surface: Surface, path: str
    ) -> web.StreamResponse:
        """
        Answer a request.
        """
        core = self._core
        core.time.start_if_needed()
        metrics = core.metrics.surface(surface.name)
        metrics.in_flight += 1
        admission: Admission | None = None
        try:
            refusal: ApiError | None = None
            try:
                body = body_at_hand(http, core.limits.request_body_bytes_max)
                if body is None:
                    body = await self._read(http)
            except ApiError as error:
                body, refusal = b"", error
            request = self._request_of(http, path, body)
            world = self._world_of(request)
            if refusal is not None:
                answer = self._refuse(request, refusal)
            else:
                answer = await self._ask(surface, request, world)
            if self._is_counted(surface):
                admission = self._quotas.admit(answer, request, world)
                answer = admission.answer
            return await self._finish(http, surface, request, world, answer)
        finally:
            if admission is not None:
                admission.release()
            metrics.in_flight -= 1

    async def _read(self, http: HttpRequest) -> bytes:
        core = self._core
        return await read_body(
            http,
            bytes_max=core.limits.request_body_bytes_max,
            timeout_s=core.limits.request_read_timeout_s,
            clock=core.clock,
        )

    def _is_counted(self, surface: Surface) -> bool:
        """
        Say whether a surface's requests come out of quotas that there are.
        """
        return (
            self._quotas.is_limited
            and surface.target is _UPSTREAM
            and not surface.is_silent
        )

    def _request_of(self, http: HttpRequest, path: str, body: bytes) -> SurfaceRequest:
        core = self._core
        headers = http.headers
        return SurfaceRequest(
            request_id=next(self._request_ids),
            method=http.method,
            path=path,
            query=http.query if "?" in http.raw_path else _NO_QUERY,
            headers=headers,
            body=body,
            trace_id=trace_id_of(headers),
            api_key=api_key_of(headers),
            received_s=_received_s(http) or core.clock.monotonic(),
            received_wall_s=core.clock.wall(),
            is_reused=len(core.injector) > 0 and self._note_use(http),
        )

    def _note_use(self, http: HttpRequest) -> bool:
        """
        Say whether the connection was used before, which only faults have to know.
        """
        if (elsewhere := forwarded(http)) is not None:
            return elsewhere.asked.is_reused
        transport = http.transport
        if transport is None:
            return False
        is_reused = transport in self._used
        self._used.add(transport)
        return is_reused

    def _world_of(self, request: SurfaceRequest) -> World:
        if request.api_key:
            return self._core.worlds.of_key(request.api_key, request.trace_id)
        return self._core.worlds.of_trace(request.trace_id)

    async def _ask(
        self, surface: Surface, request: SurfaceRequest, world: World
    ) -> Answer:
        try:
            return await surface.handle(request, world)
        except ApiError as error:
            return self._refuse(request, error)
        except Exception:
            logger.exception("surface %s failed", surface.name)
            return self._refuse(request, FAILED)

    @staticmethod
    def _refuse(request: SurfaceRequest, error: ApiError) -> Answer:
        conversation = request.trace_id or sha256_of(request.body)
        return Answer(
            keys=CallKeys(conversation=conversation, turn=0, attempt_number=1),
            plan=error_plan(error, request.request_id),
        )

    async def _finish(
        self,
        http: HttpRequest,
        surface: Surface,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
    ) -> web.StreamResponse:
        core = self._core
        reporter = self._reporter
        entry = reporter.open(surface, request, world, answer)
        delay_of = self._delays(surface, world, answer)
        decided = self._decide(surface, request, world, answer, delay_of)
        if decided.hits:
            reporter.tell_faults(surface, request, decided)
        if (
            delay_of is None
            and not decided.hits
            and answer.before is None
            and (
                whole := write_whole(
                    http,
                    decided.plan,
                    clock=core.clock,
                    body_kept_max=core.limits.journal_body_bytes_max,
                    late_headers=self._late_headers(surface, request),
                )
            )
        ):
            response, written = whole
            reporter.close(entry, surface, request, world, answer, decided, written)
            if answer.after is not None:
                answer.after()
            return response
        writer = self._writer_for(http, surface, request, decided, delay_of)
        if delay_of is not None:
            writer.written.depends_on = self._profile_of(surface, answer).depends_on
        try:
            if answer.before is not None and decided.is_effective:
                await answer.before()
            return await writer.write(decided.plan)
        finally:
            reporter.close(
                entry, surface, request, world, answer, decided, writer.written
            )
            if answer.undelivered is not None and not _is_delivered(writer, decided):
                answer.undelivered()
            if answer.after is not None and decided.is_effective:
                answer.after()

    def _writer_for(
        self,
        http: HttpRequest,
        surface: Surface,
        request: SurfaceRequest,
        decided: Decided,
        delay_of: DelayOf | None,
    ) -> PlanWriter | ShippingWriter:
        elsewhere = forwarded(http)
        if elsewhere is not None and is_shippable(decided.plan):
            is_timed = surface.target is Target.UPSTREAM
            return ShippingWriter(elsewhere, delay_of=delay_of, is_timed=is_timed)
        return PlanWriter(
            http,
            clock=self._core.clock,
            delay_of=delay_of,
            closing=self._core.closing,
            body_kept_max=self._core.limits.journal_body_bytes_max,
            late_headers=lambda: self._late_headers(surface, request),
        )

    def _decide(
        self,
        surface: Surface,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
        delay_of: DelayOf | None,
    ) -> Decided:
        if not len(self._core.injector):
            return Decided(
                plan=_plan_of(request, answer, answer.reply),
                hits=(),
                reply=answer.reply,
                facts={} if answer.effect is None else answer.effect(),
                is_effective=True,
            )
        core = self._core
        calls = tuple(getattr(answer.reply, "tool_calls", None) or ())
        tool = answer.received.get("tool")
        contexts = FaultContexts(core, surface, request, world, answer)
        moment = Moment(
            target=surface.target,
            world=world.name,
            keys=answer.keys,
            scenario_s=core.time.elapsed_s,
            stream=bool(answer.received.get("stream")),
            model=answer.received.get("model"),
            endpoint=answer.received.get("endpoint"),
            tools=(tool,) if tool else tuple(call.name for call in calls),
            calls_tools=bool(calls),
            headers=request.headers,
            rule=answer.rule,
            fits=lambda active: active.fault.fits(answer.reply, contexts.of(active)),
            first_delay_s=lambda: delay_of(Pace.FIRST_TOKEN, 0) if delay_of else 0.0,
        )
        chosen = core.injector.choose(moment)
        reply = answer.reply
        for hit in chosen:
            if hit.active.fault.level is Level.REPLY and reply is not None:
                reply = hit.active.fault.on_reply(reply, contexts.of(hit.active))
        plan = _plan_of(request, answer, reply)
        is_effective = not any(hit.active.fault.prevents_effect for hit in chosen)
        facts: Facts = {}
        if answer.effect is not None and is_effective:
            facts = answer.effect()
        hits = []
        for hit in chosen:
            changed = contexts.apply(hit.active, plan)
            if changed is not None:
                plan = changed
                hits.append(hit)
        return Decided(
            plan=plan,
            hits=tuple(hits),
            reply=reply,
            facts=facts,
            is_effective=is_effective,
        )

    def _profile_of(self, surface: Surface, answer: Answer) -> Latency:
        name = answer.received.get("tool") or answer.received.get("endpoint")
        profiles = self._profiles
        return (
            answer.latency
            or profiles.get((surface.target, name))
            or profiles.get((surface.target, None))
            or _INSTANT
        )

    def _delays(self, surface: Surface, world: World, answer: Answer) -> DelayOf | None:
        """
        Return how long each chunk waits; None if none does.
        """
        if self._is_instant and answer.latency is None:
            return None
        profile = self._profile_of(surface, answer)
        if profile == _INSTANT:
            return None
        keys = answer.keys
        speed = self._core.speed

        def draw(purpose: str) -> float:
            return self._core.draws.draw(
                "latency",
                surface.name,
                purpose,
                world.name,
                keys.conversation,
                keys.turn,
                keys.attempt_number,
            )

        tokens = 0 if answer.demand is None else answer.demand.prompt_tokens
        situation = Situation(now_s=self._core.time.elapsed_s, prompt_tokens=tokens)
        first_s: list[float] = []

        def delay_of(pace: Pace, output_number: int) -> float:
            # The first is asked for once: a load counts who asks it.
            if pace is Pace.FIRST_TOKEN and first_s:
                return first_s[0]
            delay_s = profile.delay_s(pace, output_number, draw, situation) / speed
            if pace is Pace.FIRST_TOKEN:
                first_s.append(delay_s)
            return delay_s

        return delay_of

    def _late_headers(
        self, surface: Surface, request: SurfaceRequest
    ) -> tuple[tuple[str, str], ...]:
        if surface.target is not _UPSTREAM:
            return ()
        elapsed_s = self._core.clock.monotonic() - request.received_s
        return (("openai-processing-ms", str(int(elapsed_s * 1000))),)


def _received_s(http: HttpRequest) -> float | None:
    elsewhere = forwarded(http)
    return None if elsewhere is None else elsewhere.asked.received_s


def _plan_of(request: SurfaceRequest, answer: Answer, reply: Any) -> Plan:
    plan = answer.plan
    if plan is None:
        plan = () if answer.encode is None else answer.encode(reply)
    given = request.headers.get(REQUEST_ID)
    return plan if given is None else echo_request_id(plan, given)


def _is_delivered(writer: PlanWriter | ShippingWriter, decided: Decided) -> bool:
    return writer.written.outcome is Outcome.COMPLETE and not decided.breaks_answer
