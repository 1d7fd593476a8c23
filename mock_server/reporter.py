"""
What is told of a request: its journal entry, its events, its metrics.
"""

from typing import Any, Final

from msgspec import Struct

from mock_server.blotting import blotted_value, repeats_key
from mock_server.core import Core
from mock_server.entries import Entry
from mock_server.faults import Target, asked_delay_s
from mock_server.hashes import sha256_of
from mock_server.injector import Hit
from mock_server.surfaces.ports import Answer, Facts, Surface, SurfaceRequest, made
from mock_server.wire import Plan
from mock_server.worlds import World
from mock_server.writer import Outcome, Written

_END_KINDS = {
    Target.UPSTREAM: "upstream_request_ended",
    Target.TOOLS: "tool_executed",
    Target.WEBHOOK_ENDPOINT: "webhook_received",
}
_UPSTREAM: Final = Target.UPSTREAM
_COMPLETE: Final = Outcome.COMPLETE
_TOOL_REFUSED = "tool_refused"
_DROPS_TOLD_EVERY = 1000
_FIRST_SUCCESS, _FIRST_REDIRECT = 200, 300


class Decided(Struct, frozen=True, kw_only=True):
    """
    What is written, and how it came to be.
    """

    plan: Plan
    hits: tuple[Hit, ...]
    reply: Any
    """As faults left it."""

    facts: Facts
    """What the effect says of itself."""

    is_effective: bool
    """No fault kept a tool from running."""

    @property
    def fault_names(self) -> list[str]:
        """
        The faults that hit, in their order.
        """
        return [hit.active.fault.name for hit in self.hits]

    @property
    def breaks_answer(self) -> bool:
        """
        Whether a fault leaves an answer that nobody can use.
        """
        return any(hit.active.fault.breaks_answer for hit in self.hits)


class Reporter:
    """
    Tells what happens to requests.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told_at = 1

    def open(
        self, surface: Surface, request: SurfaceRequest, world: World, answer: Answer
    ) -> Entry:
        """
        Tell that a request came in.
        """
        entry = world.journal.open(request, answer, surface.name, world.name)
        if self._core.worlds.budget.dropped >= self._told_at:
            self._tell_drops()
        if answer.script_error is not None:
            self._publish(
                request,
                "script_error",
                message=answer.script_error,
                request_id=request.request_id,
            )
        if surface.target is _UPSTREAM and not surface.is_silent:
            if self._core.events.is_heard:
                self._publish_received(surface, request, world, answer)
            else:
                self._core.events.pass_over()
        return entry

    def note(
        self,
        surface: Surface,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
        data: bytes | None,
        sent: bytes,
        elapsed_s: float,
    ) -> None:
        """
        Tell of an answer that was given whole and at once, and whose events nobody hears.
        """
        core = self._core
        name = surface.name
        world.journal.note(request, answer, name, data, sent, elapsed_s)
        if core.worlds.budget.dropped >= self._told_at:
            self._tell_drops()
        core.events.pass_over(2)
        core.metrics.surface(name).note(elapsed_s)

    def tell_faults(
        self, surface: Surface, request: SurfaceRequest, decided: Decided
    ) -> None:
        """
        Tell which faults hit.
        """
        for hit in decided.hits:
            name = hit.active.fault.name
            self._core.metrics.faults[name, surface.target] += 1
            if surface.is_silent:
                continue
            self._core.events.publish(
                "fault_applied",
                trace_id=request.trace_id,
                fault_id=hit.active.fault_id,
                fault=name,
                surface=surface.target,
                request_id=request.request_id,
                draw=hit.draw,
            )

    def close(
        self,
        entry: Entry,
        surface: Surface,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
        decided: Decided,
        written: Written,
    ) -> None:
        """
        Tell how it ended.
        """
        elapsed_s = self._core.clock.monotonic() - request.received_s
        entry.status = written.status
        entry.outcome = written.outcome
        if decided.hits:
            entry.faults = [
                {
                    "fault_id": hit.active.fault_id,
                    "fault": hit.active.fault.name,
                    "draw": hit.draw,
                }
                for hit in decided.hits
            ]
        entry.depends_on = written.depends_on
        entry.planned_us = int(written.planned_s * 1e6)
        entry.actual_us = int(elapsed_s * 1e6)
        entry.answer_bytes = written.body_bytes
        world.journal.close(entry, answer=written.body)
        self._measure(surface.name, written, elapsed_s)
        if surface.is_silent:
            return
        if not self._core.events.is_heard:
            self._core.events.pass_over()
            return
        fields: dict[str, Any] = {
            "request_id": request.request_id,
            "status": written.status,
            "outcome": written.outcome,
            "faults": decided.fault_names,
            "planned_us": entry.planned_us,
            "actual_us": entry.actual_us,
        }
        if written.depends_on:
            fields["depends_on"] = list(written.depends_on)
        status = written.status
        asked_s = None
        if status is None or status >= _FIRST_REDIRECT:
            asked_s = asked_delay_s(written.headers, self._core.clock.wall())
        if asked_s is not None:
            fields["retry_after_s"] = asked_s
        kind = _END_KINDS[surface.target]
        if surface.target is _UPSTREAM:
            fields |= _upstream_facts(answer, decided, written)
        else:
            fields |= {"world": world.name, **made(answer.received), **answer.ended}
            fields |= decided.facts
            has_run = decided.is_effective and answer.effect is not None
            if surface.target is Target.TOOLS and not has_run:
                kind = _TOOL_REFUSED
        self._publish(request, kind, **fields)

    def _publish(self, request: SurfaceRequest, kind: str, **fields: Any) -> None:
        if repeats_key(request):
            fields = blotted_value(fields, request.api_key)
        self._core.events.publish(kind, trace_id=request.trace_id, **fields)

    def _tell_drops(self) -> None:
        dropped = self._core.worlds.budget.dropped
        self._told_at = dropped + _DROPS_TOLD_EVERY
        self._core.events.publish("journal_dropped", dropped=dropped)

    def _measure(self, surface: str, written: Written, elapsed_s: float) -> None:
        is_complete = written.outcome is _COMPLETE
        overhead_s = elapsed_s
        if written.planned_s:
            overhead_s = max(0.0, elapsed_s - written.planned_s)
        self._core.metrics.surface(surface).measure(
            written.status,
            written.outcome,
            elapsed_s,
            overhead_s if is_complete else None,
        )

    def _publish_received(
        self, surface: Surface, request: SurfaceRequest, world: World, answer: Answer
    ) -> None:
        keys = answer.keys
        fields: dict[str, Any] = {
            "model": None,
            "stream": False,
            "tool_results": [],
            "offered_tools": [],
            **made(answer.received),
            "request_id": request.request_id,
            "surface": surface.name,
            "world": world.name,
            "conversation": keys.conversation,
            "turn": keys.turn,
            "attempt_number": keys.attempt_number,
            "body_sha256": sha256_of(request.body),
        }
        if (key := request.headers.get("idempotency-key")) is not None:
            fields["idempotency_key"] = key
        if keys.ambiguous:
            fields["ambiguous"] = True
        self._publish(request, "upstream_request_received", **fields)


def _upstream_facts(answer: Answer, decided: Decided, written: Written) -> Facts:
    status = written.status
    is_success = status is not None and _FIRST_SUCCESS <= status < _FIRST_REDIRECT
    facts: dict[str, Any] = {}
    if is_success:
        facts |= answer.facts_of(decided.reply)
    if answer.rule is not None:
        facts["rule"] = answer.rule
    facts["answer_valid"] = (
        is_success
        and written.outcome is _COMPLETE
        and not decided.breaks_answer
        and not answer.fails
    )
    return facts
