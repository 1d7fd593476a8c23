"""
Transcripts from the test suites of other breakers, played to ours.

Each is held, or listed with the rule of ours that differs.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, OptionsError, TransitionError
from harness.events import CircuitChanged, CircuitWouldHaveOpened
from harness.resilience import CircuitBreaker, CircuitPermit, Outcome
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]
Transcript = Mapping[str, Any]
Settings = dict[str, Any]

TRANSCRIPTS: Final[list[Transcript]] = json.loads(
    (Path(__file__).parent / "vectors" / "breaker_transcripts.json").read_text()
)["transcripts"]

FIRST_FAILURE_REOPENS: Final = "the first probe that fails reopens the circuit"
IGNORED_IS_NEUTRAL: Final = "an ignored or cancelled call says nothing about the peer"
PROBES_AT_A_TIME: Final = "probes_max limits the probes at a time, not their number"

DIFFERS: Final[Mapping[str, str]] = {
    "r4j-09-half-open-fails": FIRST_FAILURE_REOPENS,
    "r4j-10-half-open-slow-fails": FIRST_FAILURE_REOPENS,
    "fsgo-08-ho-threshold-3-F": FIRST_FAILURE_REOPENS,
    "fsgo-10-ho-ratio-2-of-3-FSF": FIRST_FAILURE_REOPENS,
    "fsgo-11-ho-ratio-2-of-3-FSS": FIRST_FAILURE_REOPENS,
    "fsgo-25-time-based-threshold": FIRST_FAILURE_REOPENS + "; a break is not empty",
    "r4j-25-half-open-max-wait-open": "probes have leases; half-open has no end by time",
    "polly-01-never-opens-on-success": "ratios are judged after every outcome",
    "polly-26-v8-unhandled-closes-half-open": IGNORED_IS_NEUTRAL,
    "polly-27-v8-cancel-closes-half-open": IGNORED_IS_NEUTRAL,
    "purg-05-excluded-resets-count": IGNORED_IS_NEUTRAL,
    "gobr-02-custom-interval-and-exclusions": PROBES_AT_A_TIME,
    "gobr-05-rolling-buckets": PROBES_AT_A_TIME,
}

UNCOUNTED: Final = {"requests", "excluded", "consecutive_success"}
"""Sums with ignored calls in them, and runs of successes: ours keeps none of these."""

STATES: Final = {"forced_open": "isolated", "metrics_only": "observing"}
OUTCOMES: Final = {
    "success": Outcome.SUCCESS,
    "failure": Outcome.FAILURE,
    "ignored": Outcome.IGNORED,
    "cancel": Outcome.IGNORED,
    "local_reject": Outcome.IGNORED,
}


def resilience4j(config: Mapping[str, Any]) -> Settings:
    """
    Rates over a window; half-open lets a fixed number through.
    """
    settings: Settings = {
        "failure_threshold": None,
        "failure_ratio": config["failure_rate"] / 100,
        "minimum_throughput": config["minimum_calls"],
        "break_factor": config.get("open_wait_multiplier", 1.0),
        "break_duration_s": config.get("open_wait_ms", 60_000) / 1000,
        "auto_half_open": config.get("auto_transition", False),
        "probes_max": config.get("permitted_half_open", 10),
        "successes_to_close": config.get("permitted_half_open", 10),
    }
    if config["window_type"] == "count":
        settings["window_calls"] = config["window"]
        settings["minimum_throughput"] = min(config["minimum_calls"], config["window"])
    else:
        settings["sampling_duration_s"] = config["window"]
    if "slow_rate" in config:
        settings["slow_ratio"] = config["slow_rate"] / 100
        settings["slow_call_s"] = config["slow_ms"] / 1000
        settings["slow_minimum_throughput"] = settings["minimum_throughput"]
    return settings


def polly(config: Mapping[str, Any]) -> Settings:
    """
    A ratio over ten sub-windows; one probe; version 7 half-opens when looked at.
    """
    return {
        "failure_threshold": None,
        "failure_ratio": config["failure_ratio"],
        "minimum_throughput": config["min_throughput"],
        "sampling_duration_s": config["sampling_ms"] / 1000,
        "break_duration_s": config["break_ms"] / 1000,
        "auto_half_open": config["version"] == 7,
        "probes_max": 1,
        "successes_to_close": 1,
    }


def failsafe_go(config: Mapping[str, Any]) -> Settings:
    """
    So many failures in a row, or so many of the last so many.
    """
    threshold = config.get("failure_threshold", 1)
    successes = config.get("success_threshold", 1)
    settings: Settings = {
        "failure_threshold": threshold,
        "probes_max": successes,
        "successes_to_close": successes,
        "break_duration_s": config.get("open_wait_ms", 60_000) / 1000,
    }
    if "failure_cap" in config:
        settings |= {
            "failure_threshold": None,
            "failure_ratio": threshold / config["failure_cap"],
            "window_calls": config["failure_cap"],
            "minimum_throughput": config["failure_cap"],
        }
    return settings


def gobreaker(config: Mapping[str, Any]) -> Settings:
    """
    A ratio over a tumbling or rolling interval; the state is computed when looked at.
    """
    interval_ms = config["interval_ms"]
    return {
        "failure_threshold": None,
        "failure_ratio": config["trip_ratio"],
        "minimum_throughput": config["trip_min"],
        "sampling_duration_s": interval_ms / 1000,
        "window_buckets": round(interval_ms / config.get("bucket_ms", interval_ms)),
        "break_duration_s": config["timeout_ms"] / 1000,
        "auto_half_open": True,
        "probes_max": config["max_requests"],
        "successes_to_close": config["max_requests"],
    }


def consecutive(config: Mapping[str, Any]) -> Settings:
    """
    So many failures in a row; one probe.
    """
    return {
        "failure_threshold": config["fail_max"],
        "break_duration_s": config["open_wait_ms"] / 1000,
        "auto_half_open": config.get("state_on_read", False),
        "probes_max": 1,
        "successes_to_close": config.get("success_threshold", 1),
    }


def article(config: Mapping[str, Any]) -> Settings:
    """
    So many failures in a row; slots for probes; so many successes.
    """
    return {
        "failure_threshold": config["failure_threshold"],
        "break_duration_s": config["open_wait_ms"] / 1000,
        "probes_max": config["half_open_max_calls"],
        "successes_to_close": config["success_threshold"],
    }


SETTINGS: Final[Mapping[str, Callable[[Mapping[str, Any]], Settings]]] = {
    "resilience4j": resilience4j,
    "polly": polly,
    "failsafe-go": failsafe_go,
    "gobreaker": gobreaker,
    "consecutive": consecutive,
    "article-fixed": article,
}


class Player:
    """
    Plays one transcript to a breaker and compares after every step.
    """

    def __init__(
        self, breaker: CircuitBreaker, *, clock: LoopClock, recorder: Recorder
    ) -> None:
        self.breaker = breaker
        self.clock = clock
        self.recorder = recorder
        self.tried: list[CircuitPermit] = []
        self.calls: dict[str, CircuitPermit] = {}
        self.seen: dict[str, object] = {}

    async def play(self, step: Mapping[str, Any]) -> None:
        """
        Do one step and hold what it expects.
        """
        self.seen = {}
        for _ in range(step.get("n", 1)):
            await self._do(step)
        expected_state = STATES.get(step["state"], step["state"])
        assert self.breaker.state.value == expected_state, step
        for name, expected in step.get("expect", {}).items():
            if name not in UNCOUNTED:
                assert self._actual(name, expected) == pytest.approx(expected), step

    async def _do(self, step: Mapping[str, Any]) -> None:
        match step["op"]:
            case "advance":
                await self.clock.sleep(step["ms"] / 1000)
            case "force":
                self._force(step["to"])
            case "reset":
                self.breaker.reset()
            case "try":
                self.tried.extend(self._admit())
            case "begin":
                self.calls.update((step["call"], permit) for permit in self._admit())
            case "end":
                self._end(self.calls.pop(step["call"]), step["outcome"], step)
            case op:
                for permit in self._admit():
                    self._end(permit, step.get("outcome", op), step)

    def _admit(self) -> list[CircuitPermit]:
        try:
            permit = self.breaker.admit()
        except CircuitOpenError as error:
            self.seen["permitted"] = False
            self.seen["retry_after_ms"] = (error.retry_after_s or 0.0) * 1000
            return []
        self.seen["permitted"] = True
        return [permit]

    def _end(
        self, permit: CircuitPermit, outcome: str, step: Mapping[str, Any]
    ) -> None:
        duration_s = step.get("duration_ms", 0) / 1000
        self.breaker.settle(permit, OUTCOMES[outcome], duration_s=duration_s)

    def _force(self, state: str) -> None:
        breaker = self.breaker
        by_hand = {
            "open": breaker.open,
            "half_open": breaker.half_open,
            "closed": breaker.close,
            "forced_open": breaker.isolate,
            "disabled": breaker.disable,
            "metrics_only": breaker.observe,
        }
        try:
            by_hand[state]()
        except TransitionError:
            self.seen["illegal"] = True

    def _actual(self, name: str, expected: object) -> object:
        if name in self.seen:
            return self.seen[name]
        if name == "event_count":
            assert isinstance(expected, dict)
            counted = self._events()
            return {event: counted[event] for event in expected}
        now = self.breaker.snapshot()
        is_judged = now.samples >= self.breaker_minimum
        facts: dict[str, object] = {
            "buffered": now.samples,
            "failed": now.failed_samples,
            "success": now.samples - now.failed_samples,
            "slow": now.slow_samples,
            "failure_rate": 100 * now.failed_samples / now.samples if is_judged else -1,
            "slow_rate": 100 * now.slow_samples / now.samples if is_judged else -1,
            "failure_count": now.failures,
            "consecutive_failure": now.failures,
            "success_count": now.successes,
            "probes_in_flight": now.probes,
            "not_permitted": now.rejections,
            "transitions": len(self.recorder.of(CircuitChanged)),
            "events_all": [e.to_state for e in self.recorder.of(CircuitChanged)],
        }
        return facts[name]

    breaker_minimum = 1

    def _events(self) -> Counter[str]:
        verbs = {"open": "opened", "half_open": "half_opened", "closed": "closed"}
        rules = {
            "failure_ratio": "failure_rate_exceeded",
            "slow_ratio": "slow_rate_exceeded",
        }
        counted = Counter(
            verbs.get(event.to_state, event.to_state)
            for event in self.recorder.of(CircuitChanged)
        )
        counted.update(
            rules.get(event.reason, event.reason)
            for event in self.recorder.of(CircuitWouldHaveOpened)
        )
        return counted


async def play(
    transcript: Transcript,
    make_breaker: MakeBreaker,
    clock: LoopClock,
    recorder: Recorder,
) -> CircuitBreaker:
    """
    Play a whole transcript to a fresh breaker, compare after every step, return it.
    """
    config = transcript["config"]
    settings = SETTINGS[transcript["family"]](config)
    breaker = make_breaker(**settings)
    player = Player(breaker, clock=clock, recorder=recorder)
    player.breaker_minimum = settings.get("minimum_throughput", 1)
    player._force(config.get("start_state", "closed"))
    is_lenient = transcript["family"] in {"failsafe-go", "consecutive"}
    recorder.envelopes.clear()
    for step in transcript["steps"]:
        if is_lenient and step.get("to") == "half_open" and breaker.state == "closed":
            # These may be half-opened from closed; ours has to be open before.
            breaker.open()
        await player.play(step)
    return breaker


@pytest.mark.parametrize(
    "transcript",
    [transcript for transcript in TRANSCRIPTS if transcript["id"] not in DIFFERS],
    ids=lambda transcript: transcript["id"],
)
async def test_reproduces_transcript(
    transcript: Transcript,
    make_breaker: MakeBreaker,
    clock: LoopClock,
    recorder: Recorder,
) -> None:
    """
    What another breaker promises and ours can be configured for, ours does as well.
    """
    breaker = await play(transcript, make_breaker, clock, recorder)

    last = transcript["steps"][-1]["state"]
    assert breaker.state.value == STATES.get(last, last)


@pytest.mark.parametrize("transcript_id", DIFFERS)
async def test_listed_transcript_differs(
    transcript_id: str,
    make_breaker: MakeBreaker,
    clock: LoopClock,
    recorder: Recorder,
) -> None:
    """
    A transcript that is listed as different does not hold; else it is unlisted.
    """
    (transcript,) = [one for one in TRANSCRIPTS if one["id"] == transcript_id]

    with pytest.raises((AssertionError, OptionsError)):
        await play(transcript, make_breaker, clock, recorder)


def test_most_transcripts_hold() -> None:
    """
    At most a quarter of the transcripts is listed as different.
    """
    assert len(DIFFERS) <= len(TRANSCRIPTS) / 4
    assert set(DIFFERS) <= {transcript["id"] for transcript in TRANSCRIPTS}
