"""
The figures that expectations bound, computed from a timeline.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.judging.circuit_figures import CircuitFigures
from harness.judging.entities import Attempt, Call, Delivery
from harness.judging.figure import Figure, call_events, counted, known, unknown
from harness.judging.timeline import Timeline
from harness.judging.webhooks import Fates, fates_of
from harness.scenario import MetricExpectation, Promise

_MICRO: Final = 1e6


class Figures:
    """
    Computes figures over one timeline.

    Args:
        timeline: The run.
        promise: What the service promises; it says how long a message may take.
        warmup_s: Until when nothing counts.
    """

    def __init__(
        self, timeline: Timeline, *, promise: Promise, warmup_s: float = 0.0
    ) -> None:
        self._timeline = timeline
        self._promise = promise
        self._warmup_us = round(warmup_s * _MICRO)
        self._circuits = CircuitFigures(timeline)
        self._fates: Fates | None = None

    @property
    def fates(self) -> Fates:
        """
        What became of every webhook.
        """
        if self._fates is None:
            self._fates = fates_of(self._timeline, self._promise)
        return self._fates

    def of(self, expectation: MetricExpectation) -> Figure:
        """
        Return the figure that an expectation bounds.
        """
        window = self.window(expectation.from_s, expectation.to_s)
        metric = expectation.figure
        if metric.circuit is not None:
            return self._circuits.of(metric.circuit, metric.family, window)
        if expectation.while_ is not None:
            return self._circuits.within(metric.family, expectation.while_, window)
        if metric.percentile is not None:
            field = "latency_us" if ".latency." in metric.family else "service_us"
            return self._percentile(field, metric.percentile, window)
        if metric.family == "chat.goodput":
            return self._goodput(expectation, window)
        return self._plain(metric.family, window)

    def window(self, from_s: float | None, to_s: float | None) -> tuple[int, int]:
        """
        Return a window of scenario time, the warm-up left out unless it is asked for.
        """
        from_us = self._warmup_us if from_s is None else round(from_s * _MICRO)
        to_us = self._timeline.end_us + 1 if to_s is None else round(to_s * _MICRO)
        return from_us, to_us

    def _plain(self, family: str, window: tuple[int, int]) -> Figure:
        group, _, name = family.partition(".")
        table: dict[str, Callable[[str, tuple[int, int]], Figure]] = {
            "load": self._load,
            "chat": self._chat,
            "upstream": self._upstream,
            "tools": self._tools,
            "webhooks": self._webhooks,
        }
        return table[group](name, window)

    def _due(self, window: tuple[int, int]) -> list[Call]:
        from_us, to_us = window
        return [
            call for call in self._timeline.calls if from_us <= call.intended_us < to_us
        ]

    def _calls(self, window: tuple[int, int]) -> list[Call]:
        """
        Return the calls that say something of the service.
        """
        return [
            call for call in self._due(window) if not self._timeline.was_cut_off(call)
        ]

    def _load(self, name: str, window: tuple[int, int]) -> Figure:
        calls = self._due(window)
        match name:
            case "offered":
                return counted(len(calls), 1)
            case "done":
                done = sum(call.ending is not None for call in calls)
                return counted(done, len(calls))
            case "dropped":
                dropped = [call for call in calls if call.dropped_seq is not None]
                events = [call.dropped_seq for call in dropped]
                return counted(len(dropped), len(calls), events=events)
            case _:
                lags_us = [
                    int(record.get("lag_us") or 0)
                    for record in self._timeline.of("call_started")
                    if window[0] <= int(record["time_us"]) < window[1]
                ]
                worst_s = max(lags_us, default=0) / _MICRO
                return Figure(
                    value=worst_s, samples=len(lags_us), why="no call started"
                )

    def _chat(self, name: str, window: tuple[int, int]) -> Figure:
        calls = self._calls(window)
        if name == "success_ratio":
            failed = [call for call in calls if call.outcome != "answered"]
            ratio = 1 - len(failed) / len(calls) if calls else None
            return Figure(
                value=ratio,
                samples=len(calls),
                why="no call was due in the window",
                events=known(call_events(failed)),
            )
        matching = [call for call in calls if call.outcome == name]
        return counted(len(matching), len(calls), events=call_events(matching))

    def _percentile(
        self, field: str, percentile: float, window: tuple[int, int]
    ) -> Figure:
        values: list[tuple[float, int | None]] = []
        for call in self._calls(window):
            outcome, ending = call.outcome, call.ending
            if outcome is None:
                continue
            if ending is None or outcome == "unknown" or field not in ending:
                values.append((math.inf, call.dropped_seq or call.ended_seq))
            else:
                values.append((int(ending[field]) / _MICRO, call.ended_seq))
        if not values:
            return unknown("no call ended in the window")
        values.sort(key=lambda each: each[0])
        rank = max(0, math.ceil(percentile / 100 * len(values)) - 1)
        slowest = [seq for _, seq in reversed(values[rank:])]
        return Figure(
            value=values[rank][0],
            samples=len(values),
            events=known(slowest),
        )

    def _goodput(
        self, expectation: MetricExpectation, window: tuple[int, int]
    ) -> Figure:
        limits = expectation.limits
        calls = self._calls(window)
        bad = []
        for call in calls:
            ending = call.ending or {}
            is_good = call.outcome == "answered"
            if limits is not None and limits.latency is not None:
                latency_us = int(ending.get("latency_us") or 0)
                is_good = is_good and latency_us <= limits.latency * _MICRO
            if limits is not None and limits.service_time is not None:
                service_us = int(ending.get("service_us") or 0)
                is_good = is_good and service_us <= limits.service_time * _MICRO
            if not is_good:
                bad.append(call)
        ratio = 1 - len(bad) / len(calls) if calls else None
        return Figure(
            value=ratio,
            samples=len(calls),
            why="no call was due in the window",
            events=known(call_events(bad)),
        )

    def _attempts(self, window: tuple[int, int]) -> list[Attempt]:
        from_us, to_us = window
        return [
            attempt
            for attempt in self._timeline.attempts
            if from_us <= attempt.received_us < to_us
        ]

    def _upstream(self, name: str, window: tuple[int, int]) -> Figure:
        attempts = self._attempts(window)
        if name == "attempts":
            return counted(len(attempts), 1, events=[each.seq for each in attempts])
        operations: dict[Any, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if not attempt.is_ambiguous:
                operations[attempt.operation].append(attempt)
        if not operations:
            return unknown("nothing reached the model API")
        most = max(operations.values(), key=len)
        events = known([attempt.seq for attempt in most])
        value = float(len(most))
        if name == "amplification":
            value = sum(map(len, operations.values())) / len(operations)
        return Figure(value=value, samples=len(operations), events=events)

    def _tools(self, name: str, window: tuple[int, int]) -> Figure:
        from_us, to_us = window
        executions = [
            each
            for each in self._timeline.executions
            if from_us <= each.time_us < to_us
        ]
        if name == "executions":
            return counted(len(executions), 1, events=[each.seq for each in executions])
        seen: Counter[str] = Counter()
        repeated = []
        for execution in executions:
            if execution.tool_call_id is None:
                continue
            seen[execution.tool_call_id] += 1
            if seen[execution.tool_call_id] > 1:
                repeated.append(execution.seq)
        return counted(
            len(repeated), sum(seen.values()), events=repeated, why="no tool was run"
        )

    def _webhooks(self, name: str, window: tuple[int, int]) -> Figure:
        fates = self.fates
        received = {
            message_id: [
                each for each in deliveries if window[0] <= each.time_us < window[1]
            ]
            for message_id, deliveries in fates.received.items()
        }
        match name:
            case "attempts":
                attempts = [each for many in received.values() for each in many]
                return counted(len(attempts), 1, events=[each.seq for each in attempts])
            case "duplicates":
                return _count_repeated(received)
            case "delivered":
                return counted(len(fates.delivered), 1)
            case "enqueued":
                count = len(fates.enqueued or fates.received)
                return counted(count, 1)
            case "lost":
                events = [seq for each in fates.lost for seq in each.events[:1]]
                return counted(
                    len(fates.lost), fates.owed, events=events, why=_NO_WEBHOOK
                )
            case _:
                return self._dead(fates)

    def _dead(self, fates: Fates) -> Figure:
        if not self._timeline.speaks:
            why = "only the service knows what it gave up, and it says nothing"
            return unknown(why)
        events = [
            int(record["seq"])
            for record in self._timeline.of("webhook_dead")
            if str(record["message_id"]) in fates.dead
        ]
        return counted(len(fates.dead), fates.owed, events=events, why=_NO_WEBHOOK)


_NO_WEBHOOK: Final = "no webhook was owed"


def _count_repeated(received: Mapping[str, Sequence[Delivery]]) -> Figure:
    """
    Count the deliveries that came after an acknowledged one.
    """
    repeated = []
    for deliveries in received.values():
        is_acknowledged = False
        for delivery in deliveries:
            if is_acknowledged:
                repeated.append(delivery.seq)
            is_acknowledged = is_acknowledged or delivery.is_acknowledged
    return counted(len(repeated), len(received), events=repeated, why=_NO_WEBHOOK)


def outcome_counts(timeline: Timeline) -> Mapping[str, int]:
    """
    Return how many calls ended in which way.
    """
    return Counter(call.outcome or "open" for call in timeline.calls)
