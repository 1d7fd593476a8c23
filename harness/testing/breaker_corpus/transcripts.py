"""
Transcripts from the test suites of other breakers, as data, and what plays them.

Each step is an operation and the state that is seen after it. The facts stand in
``transcripts.json``, with the project, commit and test that each was read from.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.testing.breaker_corpus.adapter import (
    BreakerSettings,
    NotOfferedError,
)
from harness.testing.breaker_corpus.trial import (
    HeldCall,
    MakeAdapter,
    Trial,
    run_trial,
)

_FILE: Final = Path(__file__).with_name("transcripts.json")
_MS: Final = 1000.0

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """
    What one breaker does over a series of steps.
    """

    name: str
    family: str
    """Whose rules it follows, as ``resilience4j`` or ``consecutive``."""

    source: Mapping[str, Any]
    """Where it was read: project, commit, file and test."""

    config: Config
    steps: tuple[Mapping[str, Any], ...]

    @property
    def settings(self) -> BreakerSettings:
        """
        How a breaker has to be set up to follow it.
        """
        return _SETTINGS[self.family](self.config)


@functools.cache
def transcripts() -> tuple[Transcript, ...]:
    """
    Return all of them.
    """
    read = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Transcript(
            name=one["id"],
            family=one["family"],
            source=one["source"],
            config=one["config"],
            steps=tuple(one["steps"]),
        )
        for one in read["transcripts"]
    )


def play(transcript: Transcript, make: MakeAdapter) -> None:
    """
    Play a transcript to a fresh breaker and compare after every step.

    Only states, and whether calls are let through, are compared: counters are each
    library's own affair.

    Raises:
        AssertionError: The breaker does something else; the step is named.
        NotOfferedError: The breaker cannot be set up for it.
    """
    run_trial(make, transcript.settings, functools.partial(_play, transcript))


async def _play(transcript: Transcript, trial: Trial) -> None:
    player = _Player(trial)
    start = transcript.config.get("start_state", "closed")
    if start != "closed":
        trial.breaker.force(start)
    for number, step in enumerate(transcript.steps, start=1):
        await player.take(step)
        where = f"{transcript.name}, step {number} ({step['op']})"
        seen = trial.breaker.state
        trial.require(
            seen == step["state"], f"{where}: {seen} instead of {step['state']}"
        )
        permitted = step.get("expect", {}).get("permitted", player.permitted)
        trial.require(
            permitted == player.permitted,
            f"{where}: permitted is {player.permitted}",
        )


class _Player:
    """
    Does the steps of one transcript.
    """

    def __init__(self, trial: Trial) -> None:
        self.permitted = False
        self._trial = trial
        self._named: dict[str, HeldCall] = {}

    async def take(self, step: Mapping[str, Any]) -> None:
        """
        Do a step, as often as it says.
        """
        for _ in range(step.get("n", 1)):
            await self._do(step)

    async def _do(self, step: Mapping[str, Any]) -> None:
        trial = self._trial
        match step["op"]:
            case "advance":
                await trial.pass_time(step["ms"] / _MS)
            case "force":
                self._force(step)
            case "reset":
                trial.breaker.reset()
            case "try":
                self.permitted = (await trial.begin()).is_admitted
            case "begin":
                call = self._named[step["call"]] = await trial.begin()
                self.permitted = call.is_admitted
            case "end":
                await trial.end(self._named.pop(step["call"]), step["outcome"])
            case op:
                call = await trial.one(
                    step.get("outcome", op),
                    duration_s=step.get("duration_ms", 0) / _MS,
                )
                self.permitted = call.is_admitted

    def _force(self, step: Mapping[str, Any]) -> None:
        breaker = self._trial.breaker
        try:
            breaker.force(step["to"])
        except NotOfferedError:
            if step.get("expect", {}).get("illegal"):
                return
            if step["to"] != "half_open" or breaker.state != "closed":
                raise
            # Some may be half-opened from closed; others have to be open before.
            breaker.force("open")
            breaker.force("half_open")


def _resilience4j(config: Config) -> BreakerSettings:
    """
    Rates over a window; half-open lets a fixed number through.
    """
    is_counted = config["window_type"] == "count"
    minimum = config["minimum_calls"]
    permitted = config.get("permitted_half_open", 10)
    slow_ratio = config.get("slow_rate")
    return BreakerSettings(
        failure_threshold=None,
        failure_ratio=config["failure_rate"] / 100,
        minimum_throughput=min(minimum, config["window"]) if is_counted else minimum,
        slow_ratio=None if slow_ratio is None else slow_ratio / 100,
        slow_call_s=config.get("slow_ms", 60_000) / _MS,
        window_calls=config["window"] if is_counted else None,
        sampling_duration_s=None if is_counted else config["window"],
        break_factor=config.get("open_wait_multiplier", 1.0),
        break_duration_s=config.get("open_wait_ms", 60_000) / _MS,
        auto_half_open=config.get("auto_transition", False),
        probes_max=permitted,
        successes_to_close=permitted,
    )


def _polly(config: Config) -> BreakerSettings:
    """
    A ratio over ten sub-windows; one probe; version 7 half-opens when looked at.
    """
    return BreakerSettings(
        failure_threshold=None,
        failure_ratio=config["failure_ratio"],
        minimum_throughput=config["min_throughput"],
        sampling_duration_s=config["sampling_ms"] / _MS,
        break_duration_s=config["break_ms"] / _MS,
        auto_half_open=config["version"] == 7,  # noqa: PLR2004 - Polly's
        probes_max=1,
        successes_to_close=1,
    )


def _failsafe_go(config: Config) -> BreakerSettings:
    """
    So many failures in a row, or so many of the last so many.
    """
    threshold = config.get("failure_threshold", 1)
    successes = config.get("success_threshold", 1)
    cap = config.get("failure_cap")
    return BreakerSettings(
        failure_threshold=threshold if cap is None else None,
        failure_ratio=None if cap is None else threshold / cap,
        window_calls=cap,
        minimum_throughput=1 if cap is None else cap,
        probes_max=successes,
        successes_to_close=successes,
        break_duration_s=config.get("open_wait_ms", 60_000) / _MS,
    )


def _gobreaker(config: Config) -> BreakerSettings:
    """
    A ratio over a tumbling or rolling interval; the state is computed when looked at.
    """
    interval_ms = config["interval_ms"]
    return BreakerSettings(
        failure_threshold=None,
        failure_ratio=config["trip_ratio"],
        minimum_throughput=config["trip_min"],
        sampling_duration_s=interval_ms / _MS,
        window_buckets=round(interval_ms / config.get("bucket_ms", interval_ms)),
        break_duration_s=config["timeout_ms"] / _MS,
        auto_half_open=True,
        probes_max=config["max_requests"],
        successes_to_close=config["max_requests"],
    )


def _consecutive(config: Config) -> BreakerSettings:
    """
    So many failures in a row; one probe.
    """
    return BreakerSettings(
        failure_threshold=config["fail_max"],
        break_duration_s=config["open_wait_ms"] / _MS,
        auto_half_open=config.get("state_on_read", False),
        probes_max=1,
        successes_to_close=config.get("success_threshold", 1),
    )


def _article(config: Config) -> BreakerSettings:
    """
    So many failures in a row; slots for probes; so many successes.
    """
    return BreakerSettings(
        failure_threshold=config["failure_threshold"],
        break_duration_s=config["open_wait_ms"] / _MS,
        probes_max=config["half_open_max_calls"],
        successes_to_close=config["success_threshold"],
    )


_SETTINGS: Final[Mapping[str, Callable[[Config], BreakerSettings]]] = {
    "resilience4j": _resilience4j,
    "polly": _polly,
    "failsafe-go": _failsafe_go,
    "gobreaker": _gobreaker,
    "consecutive": _consecutive,
    "article-fixed": _article,
}
