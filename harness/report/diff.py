"""
What changed from one run to another.

Verdicts are compared entry by entry, runs by what stands in their event logs. Two runs
of one seed in virtual time have the same log, byte for byte: if they have not, the first
record that differs says where they parted.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import orjson

Record = Mapping[str, Any]

_GROUPS: Final = ("expectations", "invariants", "checks")
_SETUP: Final = ("scenario", "seed", "mode", "hashes", "versions", "environment")
_COUNTED: Final = {
    "upstream_request_received": "upstream attempts",
    "retry_scheduled": "retries",
    "operation_rejected": "refused attempts",
    "tool_executed": "tool executions",
    "webhook_enqueued": "webhooks enqueued",
    "webhook_received": "webhook attempts",
    "webhook_delivered": "webhooks delivered",
    "webhook_dead": "webhooks dead",
    "service_killed": "kills",
}
_OUTCOMES: Final = ("answered", "failed", "refused", "dropped", "unknown")
_PERCENTILES: Final = (50, 95, 99)
_SAMPLES_MIN: Final = {50: 20, 95: 200, 99: 1_000}
"""A percentile of fewer calls is chance."""

_VERDICTS: Final = ("passed", "inconclusive", "failed", "invalid")
_ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    A value that is another one.
    """

    what: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a file.
        """
        return {"what": self.what, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChange:
    """
    An expectation, an invariant or a check with another status.
    """

    group: str
    name: str
    before: str
    after: str
    message: str = ""
    """The first finding of the later run, else of the earlier one."""

    @property
    def is_worse(self) -> bool:
        """
        Whether it does not hold any more.
        """
        return self.after == "failed" and self.before != "failed"

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a file.
        """
        return {
            "group": self.group,
            "id": self.name,
            "before": self.before,
            "after": self.after,
            "message": self.message,
            "is_worse": self.is_worse,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """
    The first record in which two logs differ.
    """

    line: int
    """Counted from 1."""

    before: Record | None
    after: Record | None
    """None where the log has ended."""

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a file.
        """
        return {"line": self.line, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDiff:
    """
    What changed.
    """

    setup: tuple[Change, ...] = ()
    """What was run, and on what."""

    verdict: Change | None = None
    entries: tuple[EntryChange, ...] = ()
    figures: tuple[Change, ...] = ()
    is_repeatable: bool = False
    """Whether the logs should be the same: one seed, in virtual time."""

    parting: Parting | None = None
    """Where they are not, if they should be."""

    @property
    def is_worse(self) -> bool:
        """
        Whether something that held before does not any more.
        """
        if self.verdict is not None:
            order = _VERDICTS.index
            if order(self.verdict.after) > max(order(self.verdict.before), 1):
                return True
        return any(entry.is_worse for entry in self.entries)

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a file.
        """
        return {
            "is_worse": self.is_worse,
            "setup": [each.to_json() for each in self.setup],
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "entries": [each.to_json() for each in self.entries],
            "figures": [each.to_json() for each in self.figures],
            "is_repeatable": self.is_repeatable,
            "parting": None if self.parting is None else self.parting.to_json(),
        }


def diff_runs(
    before: tuple[Mapping[str, Any], Sequence[Record]],
    after: tuple[Mapping[str, Any], Sequence[Record]],
) -> RunDiff:
    """
    Return what changed from one run to another; each is its summary and its event log.
    """
    (summary_a, records_a), (summary_b, records_b) = before, after
    verdicts = (str(summary_a["verdict"]), str(summary_b["verdict"]))
    is_repeatable = summary_a["mode"] == summary_b["mode"] == "virtual" and (
        (summary_a["scenario"], summary_a["seed"])
        == (summary_b["scenario"], summary_b["seed"])
    )
    return RunDiff(
        setup=tuple(_changes_of(_flat(summary_a, _SETUP), _flat(summary_b, _SETUP))),
        verdict=None
        if verdicts[0] == verdicts[1]
        else Change(what="verdict", before=verdicts[0], after=verdicts[1]),
        entries=tuple(_entries(summary_a, summary_b)),
        figures=tuple(
            _changes_of(_figures(summary_a, records_a), _figures(summary_b, records_b))
        ),
        is_repeatable=is_repeatable,
        parting=_parting(records_a, records_b) if is_repeatable else None,
    )


def diff_lines(diff: RunDiff) -> list[str]:
    """
    Return what changed, as lines.
    """
    lines: list[str] = []
    if diff.verdict is not None:
        lines.append(f"verdict: {diff.verdict.before} -> {diff.verdict.after}")
    for entry in diff.entries:
        sign = "!" if entry.is_worse else " "
        lines.append(
            f"{sign} {entry.group}: {entry.name}: {entry.before} -> {entry.after}"
        )
        if entry.message:
            lines.append(f"    {entry.message}")
    for heading, changes in (("figures", diff.figures), ("setup", diff.setup)):
        if changes:
            lines.append(f"{heading}:")
            width = max(len(change.what) for change in changes)
            lines += [
                f"  {change.what:<{width}}  {_text(change.before)} -> "
                f"{_text(change.after)}"
                for change in changes
            ]
    if diff.is_repeatable and diff.parting is None:
        lines.append("the event logs are the same")
    if diff.parting is not None:
        lines.append(f"the event logs part at line {diff.parting.line}:")
        for sign, record in (("-", diff.parting.before), ("+", diff.parting.after)):
            text = "the log has ended" if record is None else _line(record)
            lines.append(f"  {sign} {text}")
    return lines or ["nothing changed that a verdict or a figure shows"]


def _entries(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[EntryChange]:
    for group in _GROUPS:
        old, new = (
            {str(entry["id"]): entry for entry in summary.get(group, ())}
            for summary in (before, after)
        )
        for name in dict.fromkeys((*old, *new)):
            statuses = [
                str(known[name]["status"]) if name in known else _ABSENT
                for known in (old, new)
            ]
            if statuses[0] != statuses[1]:
                found = [
                    finding["message"]
                    for known in (new, old)
                    for finding in known.get(name, {}).get("findings", ())
                ]
                yield EntryChange(
                    group=group,
                    name=name,
                    before=statuses[0],
                    after=statuses[1],
                    message=str(found[0]) if found else "",
                )


def _figures(summary: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """
    Return what a run came to, by name.
    """
    kinds = Counter(str(record["kind"]) for record in records)
    figures: dict[str, Any] = {f"calls {outcome}": 0 for outcome in _OUTCOMES} | {
        f"calls {outcome}": count for outcome, count in summary.get("calls", {}).items()
    }
    figures |= {words: kinds[kind] for kind, words in _COUNTED.items()}
    for record in records:
        if record["kind"] == "circuit_changed":
            name = f"circuit {record['circuit']}"
            path = figures.setdefault(name, [str(record["from"])])
            path.append(str(record["to"]))
    # Of virtual time percentiles say what was scripted, and nothing of a service.
    if summary.get("mode") == "live":
        figures |= dict(_percentiles(records))
    return figures


def _percentiles(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    latencies_us = sorted(
        int(record["latency_us"])
        for record in records
        if record["kind"] == "call_ended" and record.get("latency_us") is not None
    )
    for percent in _PERCENTILES:
        if len(latencies_us) >= _SAMPLES_MIN[percent]:
            rank = math.ceil(percent / 100 * len(latencies_us)) - 1
            yield f"latency p{percent}", f"{latencies_us[rank] / 1e3:.0f} ms"


def _parting(before: Sequence[Record], after: Sequence[Record]) -> Parting | None:
    for line, (old, new) in enumerate(zip_longest(before, after), start=1):
        if old != new:
            return Parting(line=line, before=old, after=new)
    return None


def _flat(summary: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key in keys:
        value = summary.get(key)
        if isinstance(value, Mapping):
            flat |= {f"{key} {name}": each for name, each in value.items()}
        else:
            flat[key] = value
    return flat


def _changes_of(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(what=name, before=old, after=new)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"{len(value) - 1} transitions, ends {value[-1]}"
    return str(value)


def _line(record: Record) -> str:
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()
