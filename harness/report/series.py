"""
An event log as figures over time: pure, one pass, bounded however long the run was.
"""

import bisect
import collections
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

BUCKETS_MAX = 300
"""A longer run gets wider buckets, so that a report stays readable and small."""

_BUCKET_WIDTHS_S = (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400)

Record = Mapping[str, Any]

_SUCCESS_CLASS: Final = 2
_SERIES_OF_KIND: Final = {
    "call_offered": "offered",
    "call_dropped": "dropped",
    "upstream_request_received": "upstream_attempts",
    "retry_scheduled": "retries",
    "operation_rejected": "rejected",
    "webhook_dead": "webhooks_dead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """
    Something that lasted.
    """

    name: str
    state: str
    from_s: float
    to_s: float
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Series:
    """
    What a run looked like, bucket by bucket.

    Attributes:
        width_s: How long a bucket is.
        starts_s: Where each bucket starts, in scenario time.
        counts: For each series name, how many per bucket.
        latency_p50_s: Per bucket, over the calls that were due in it; None if none was.
        latency_p99_s: As above.
        circuits: The states of each circuit, in order.
        faults: When faults were seen to hit.
    """

    width_s: float
    starts_s: list[float]
    counts: dict[str, list[int]]
    latency_p50_s: list[float | None]
    latency_p99_s: list[float | None]
    circuits: list[Interval] = field(default_factory=list)
    faults: list[Interval] = field(default_factory=list)

    def rate_per_s(self, name: str) -> list[float]:
        """
        Return a count series as events per second.
        """
        counts = self.counts.get(name, [0] * len(self.starts_s))
        return [count / self.width_s for count in counts]


def series_of(records: Iterable[Record]) -> Series:
    """
    Return the figures over time that an event log holds.

    Args:
        records: The event log, in its order.
    """
    wanted = [record for record in records if record["time_us"] >= 0]
    end_s = max((record["time_us"] for record in wanted), default=0) / 1e6
    width_s = bucket_width_s(end_s)
    buckets = int(end_s / width_s) + 1
    counts: dict[str, list[int]] = collections.defaultdict(lambda: [0] * buckets)
    latencies: list[list[float]] = [[] for _ in range(buckets)]
    for record in wanted:
        bucket = int(record["time_us"] / 1e6 / width_s)
        if (name := _series_name(record)) is not None:
            counts[name][bucket] += 1
        if record["kind"] == "call_ended":
            due = min(buckets - 1, int(record["intended_us"] / 1e6 / width_s))
            latencies[due].append(record["latency_us"] / 1e6)
    return Series(
        width_s=width_s,
        starts_s=[index * width_s for index in range(buckets)],
        counts=dict(counts),
        latency_p50_s=[_quantile(values, 0.5) for values in latencies],
        latency_p99_s=[_quantile(values, 0.99) for values in latencies],
        circuits=circuit_intervals(wanted, end_s=end_s),
        faults=_fault_intervals(wanted, width_s=width_s),
    )


def bucket_width_s(duration_s: float) -> float:
    """
    Return the smallest round width with which a run has few enough buckets.
    """
    needed_s = duration_s / BUCKETS_MAX
    index = bisect.bisect_left(_BUCKET_WIDTHS_S, needed_s)
    return float(_BUCKET_WIDTHS_S[min(index, len(_BUCKET_WIDTHS_S) - 1)])


def circuit_intervals(records: Iterable[Record], *, end_s: float) -> list[Interval]:
    """
    Return how long each circuit was in each state, circuits in order of appearance.
    """
    changes: dict[str, list[Record]] = collections.defaultdict(list)
    for record in records:
        if record["kind"] == "circuit_changed":
            changes[record["circuit"]].append(record)
    intervals = []
    for circuit, circuit_changes in changes.items():
        state, since_s, reason = circuit_changes[0]["from"], 0.0, ""
        for change in circuit_changes:
            at_s = change["time_us"] / 1e6
            intervals.append(
                Interval(
                    name=circuit, state=state, from_s=since_s, to_s=at_s, reason=reason
                )
            )
            state, since_s, reason = change["to"], at_s, change.get("reason", "")
        intervals.append(
            Interval(
                name=circuit, state=state, from_s=since_s, to_s=end_s, reason=reason
            )
        )
    return intervals


def _series_name(record: Record) -> str | None:
    """
    Say which series a record counts in, if it counts.
    """
    match record["kind"]:
        case "call_ended":
            return str(record["outcome"])
        case "upstream_request_ended":
            is_whole = record.get("outcome") == "complete"
            is_fine = is_whole and record.get("answer_valid", True)
            return (
                None
                if is_fine and record["status"] == HTTPStatus.OK
                else "upstream_failures"
            )
        case "webhook_received":
            is_delivered = (record.get("status") or 0) // 100 == _SUCCESS_CLASS
            return "webhooks_delivered" if is_delivered else "webhooks_failed"
        case kind:
            return _SERIES_OF_KIND.get(kind)


def _fault_intervals(records: Iterable[Record], *, width_s: float) -> list[Interval]:
    """
    Join the moments at which a fault hit, where they lie close together.
    """
    gap_s = max(2.0, 2 * width_s)
    open_: dict[str, Interval] = {}
    done = []
    for record in records:
        if record["kind"] != "fault_applied":
            continue
        name = f"{record['surface']}: {record['fault']}"
        at_s = record["time_us"] / 1e6
        current = open_.get(name)
        if current is not None and at_s - current.to_s > gap_s:
            done.append(current)
            current = None
        open_[name] = Interval(
            name=name,
            state="hit",
            from_s=at_s if current is None else current.from_s,
            to_s=at_s,
        )
    return sorted([*done, *open_.values()], key=lambda each: (each.from_s, each.name))


def _quantile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
