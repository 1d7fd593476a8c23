"""
A run in the foreground: progress lines while it goes on, the verdict at its end.
"""

import asyncio
import itertools
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.bench.live_world import live_world
from harness.bench.runner import RunOptions, RunResult, ScenarioRun
from harness.clock import Clock
from harness.report import RunState, busy_line, counts_line
from harness.scenario import Scenario
from harness.units import format_duration

PROGRESS_INTERVAL_S: Final = 5.0
"""How often a run says where it stands, in scenario time."""

PROGRESS_LINES_MAX: Final = 30
"""How often a long run says so, however long it is."""

ENTRIES_MAX: Final = 8
"""How many rules that did not hold are printed; all of them are in the report."""

Say = Callable[[str], None]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class ProgressLines:
    """
    Turns the event log of a run into a line every few seconds.

    Circuit transitions and dead letters get a line of their own at once.

    Args:
        scenario: Says how long it lasts.
        say: Takes a line.
        shows_latency: Whether percentiles mean anything; in virtual time they do not.
    """

    def __init__(
        self, scenario: Scenario, say: Say, *, shows_latency: bool = True
    ) -> None:
        self._state = RunState()
        self._duration_s = scenario.duration_s
        self._say = say
        self._shows_latency = shows_latency
        self._interval_s = max(
            PROGRESS_INTERVAL_S, scenario.duration_s / PROGRESS_LINES_MAX
        )
        self._next_s = self._interval_s

    def __call__(self, record: Mapping[str, Any]) -> None:
        """
        Take in the next record.
        """
        self._state.apply(record)
        at_s = record["time_us"] / 1e6
        match record["kind"]:
            case "circuit_changed":
                change = f"{record['from']} -> {record['to']}"
                reason = record.get("reason", "")
                self._say(f"  {at_s:7.2f} s  {record['circuit']}: {change} ({reason})")
            case "service_killed" | "service_restarted":
                self._say(f"  {at_s:7.2f} s  {record['kind'].replace('_', ' ')}")
        if at_s >= self._next_s:
            # A step of virtual time may pass several intervals at once.
            self._next_s = (at_s // self._interval_s + 1) * self._interval_s
            self._say(self._line())

    def _line(self) -> str:
        state, totals = self._state, self._state.totals
        latency_s = state.latency_s(0.99) if self._shows_latency else None
        p99 = "" if latency_s is None else f"p99 {format_duration(latency_s)}  "
        return (
            f"{state.now_s:5.0f} of {self._duration_s:.0f} s  "
            f"offered {state.rate_per_s('call_offered'):.1f}/s  {p99}"
            f"answered {totals['answered']}  failed {totals['failed']}  "
            f"refused {totals['refused']}  retries {totals['retry_scheduled']}  "
            f"webhooks {totals['webhook_delivered']}/{totals['webhook_enqueued']}"
        )


def run_in_foreground(
    scenario: Scenario, options: RunOptions, *, clock: Clock, say: Say
) -> RunResult:
    """
    Run a scenario to its verdict, saying where it stands.

    Raises:
        KeyboardInterrupt: It was interrupted; everything was stopped, and what was
            recorded lies in the run's folder.
    """
    say(f"{scenario.scenario}: {scenario.title}")
    say(f"run in {options.run_dir}")
    run = ScenarioRun(
        scenario,
        options,
        world=live_world(scenario, options, clock=clock),
        clock=clock,
        on_record=ProgressLines(scenario, say),
    )
    try:
        result = asyncio.run(_until_signal(run, say))
    except asyncio.CancelledError:
        say(f"interrupted; what was recorded is in {options.run_dir}")
        raise KeyboardInterrupt from None
    for line in verdict_lines(result):
        say(line)
    return result


def verdict_lines(result: RunResult) -> list[str]:
    """
    Return a verdict as plain lines, what is wrong first.
    """
    summary = result.summary
    lines = []
    if summary.get("reason"):
        lines.append(f"  {summary['reason']}")
    lines += [f"  | {line}" for line in result.last_lines]
    if summary["verdict"] != "invalid":
        # A run that says nothing of the service leaves everything undecided.
        lines += _finding_lines(summary)
    busy = busy_line(summary)
    if busy and summary["verdict"] in {"failed", "inconclusive"}:
        lines.append(f"  {busy}")
    lines.append(f"verdict: {summary['verdict']} ({counts_line(summary)})")
    lines.append(f"report: {result.report_file}")
    return lines


def _finding_lines(summary: Mapping[str, Any]) -> list[str]:
    """
    Return what failed, then what could not be decided, so much as fits a screen.

    Each entry shows its first finding: it names the first event that breaks the rule.
    """
    entries = [
        entry
        for status in ("failed", "inconclusive")
        for group in ("checks", "expectations", "invariants")
        for entry in summary.get(group, ())
        if entry["status"] == status
    ]
    lines = []
    for entry in entries[:ENTRIES_MAX]:
        findings = [finding["message"] for finding in entry.get("findings", ())]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        lines.append(f"  {entry['status']}: {entry['id']}")
        lines += [f"    {message}{more}" for message in findings[:1]]
    if len(entries) > ENTRIES_MAX:
        lines.append(f"  … and {len(entries) - ENTRIES_MAX} more in the report")
    return lines


async def _until_signal(run: ScenarioRun, say: Say) -> RunResult:
    """
    Run until Ctrl-C or SIGTERM; pressed again, they do not break off the stopping.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    times = itertools.count(1)

    def stop() -> None:
        if next(times) == 1 and task is not None:
            say("stopping mock and service …")
            task.cancel()
        else:
            say("stopping already; what was recorded is kept")

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await run.run()
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
