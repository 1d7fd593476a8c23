"""
A background response over time.

Every event's moment is settled when the response is created: how far it has come is a
function of the clock alone, and a stream that is resumed needs nothing but to wait.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mock_server.surfaces.ports import Latency
from mock_server.wire import Chunk, End, EndIf, Pace, Plan, Wait
from mock_server.wire.responses import Response, Status, stream_head

_IN_PROGRESS = 2
"""The number of the event that tells that work has begun; before it all is queue."""

_INSTANT_S = 1e-6
"""Two readings of the clock that are this near are the same moment."""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """
    When what happens to a background response.
    """

    response: Response
    events: tuple[Chunk, ...]
    due_s: tuple[float, ...]
    """The moment of each event, by the monotonic clock."""

    begun_s: float
    """When it leaves the queue."""

    stopped_s: float | None = None
    """When it was cancelled or deleted."""

    is_cancelled: bool = False

    @property
    def finished_s(self) -> float:
        """
        When it is finished, unless it is stopped before.
        """
        return self.due_s[-1]

    @property
    def is_stopped(self) -> bool:
        """
        Whether it was cancelled or deleted.
        """
        return self.stopped_s is not None

    def status_at(self, now_s: float) -> Status:
        """
        Return how far it has come.
        """
        if self.is_cancelled:
            return Status.CANCELLED
        if now_s + _INSTANT_S >= self.finished_s:
            return self.response.final_status
        if now_s + _INSTANT_S >= self.begun_s:
            return Status.IN_PROGRESS
        return Status.QUEUED

    def stop(self, now_s: float, *, is_cancelled: bool) -> None:
        """
        Let nothing more happen.
        """
        self.stopped_s = now_s
        self.is_cancelled = is_cancelled

    def plan(self, request_id: str, now_s: float, *, after: int = -1) -> Plan:
        """
        Return a stream of its events, each at its moment.

        Args:
            request_id: Of the request that is answered.
            now_s: By the monotonic clock.
            after: The number of the last event that is left out.
        """
        plan: Plan = (stream_head(request_id),)
        reached_s = now_s
        gate: Plan = () if self.is_stopped else (EndIf(lambda: self.is_stopped),)
        for chunk, due_s in list(zip(self.events, self.due_s, strict=True))[
            after + 1 :
        ]:
            if self.stopped_s is not None and due_s > self.stopped_s:
                break
            if due_s > reached_s:
                plan += (Wait(due_s - reached_s),)
                reached_s = due_s
            plan += (*gate, chunk)
        return (*plan, End())


def timeline_of(
    response: Response,
    events: tuple[Chunk, ...],
    *,
    now_s: float,
    queue_s: float,
    latency: Latency,
    draw: Callable[[str], float],
    speed: float = 1.0,
) -> Timeline:
    """
    Return when what will happen: after the queue, all takes as long as in a stream.

    Args:
        response: As it will be.
        events: All that a stream of it tells.
        now_s: By the monotonic clock.
        queue_s: How long it is queued.
        latency: How long the events wait for each other.
        draw: A number in [0, 1) by purpose.
        speed: Divides all of it.
    """
    due_s = []
    moment_s, begun_s, outputs = now_s, now_s + queue_s / speed, 0
    for number, event in enumerate(events):
        if number == _IN_PROGRESS:
            moment_s = begun_s
        if event.pace is not Pace.NONE:
            moment_s += latency.delay_s(event.pace, outputs, draw) / speed
            outputs += 1
        due_s.append(moment_s)
    unpaced = tuple(Chunk(event.data, Pace.NONE, event.part) for event in events)
    return Timeline(
        response=response, events=unpaced, due_s=tuple(due_s), begun_s=begun_s
    )
