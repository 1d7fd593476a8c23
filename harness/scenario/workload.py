"""
The schedule of arrivals, computed before the first is sent.

It depends on the phases and the seed alone: the same schedule is driven in real time,
by Locust and in virtual time.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import UsageError
from harness.ids import IdMint, TraceId
from harness.randomness import Randomness
from harness.scenario.phase import Mode, OpenPhase, Phase, Send

ARRIVALS_MAX: Final = 1_000_000
"""A longer schedule is refused: it is held in memory."""

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_TAG_LENGTH: Final = 4
_STRIDE: Final = 1_000_003
"""Coprime to every power of 36: steps of it meet each tag once."""

_USERS: Final = 100
_EVEN_JITTER: Final = 0.05
"""How far an evenly spaced arrival may be off, as a share of the distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    One call that is due at a time.
    """

    call_id: str
    """``call-000001``, counted through all phases."""

    intended_s: float
    """Scenario time at which it is due."""

    message: str
    """The user's message with its tag, like ``weather in Paris? [#k7f3]``."""

    tag: str
    """The tag alone, like ``k7f3``; unique in the run."""

    mode: Mode
    user_id: str
    trace_id: TraceId
    phase: int
    """The phase it belongs to, from 0."""

    warmup: bool = False


@dataclass(frozen=True, slots=True)
class _Stretch:
    """
    A stretch of time in which the rate changes evenly.
    """

    lasts_s: float
    rate_from: float
    rate_to: float

    @property
    def expected(self) -> float:
        return self.lasts_s * (self.rate_from + self.rate_to) / 2

    def offset_s(self, count: float) -> float:
        """
        Return when the expected number of arrivals has grown to ``count``.
        """
        slope = (self.rate_to - self.rate_from) / self.lasts_s
        if self.rate_to == self.rate_from:
            return count / self.rate_from
        root = math.sqrt(max(0.0, self.rate_from**2 + 2 * slope * count))
        return (root - self.rate_from) / slope


def arrivals(workload: Sequence[Phase], seed: int) -> tuple[Arrival, ...]:
    """
    Return the schedule of a workload, in the order of time.

    Raises:
        UsageError: It would have more than :data:`ARRIVALS_MAX` arrivals.
    """
    phases = [phase for phase in workload if isinstance(phase, OpenPhase)]
    expected = sum(expected_arrivals(phase) for phase in phases)
    if expected > ARRIVALS_MAX:
        message = f"the workload has about {expected:.0f} arrivals; at most {ARRIVALS_MAX} are held"
        raise UsageError(message)
    randomness = Randomness(seed)
    mint = IdMint(randomness.stream("arrivals/traces"))
    tags = _Tags(offset=randomness.stream("arrivals/tags").getrandbits(32))
    schedule: list[Arrival] = []
    start_s = 0.0
    for index, phase in enumerate(phases):
        times = randomness.stream(f"arrivals/times/{index}")
        choices = randomness.stream(f"arrivals/messages/{index}")
        for offset_s in _offsets_s(phase, times):
            send = _chosen(phase.send, choices)
            number = len(schedule) + 1
            tag = tags.nth(number)
            schedule.append(
                Arrival(
                    call_id=f"call-{number:06d}",
                    # Microseconds are what the event log can hold.
                    intended_s=round(start_s + offset_s, 6),
                    message=f"{send.message} [#{tag}]",
                    tag=tag,
                    mode=send.mode or phase.mode,
                    user_id=send.user_id or f"user-{choices.randrange(_USERS):02d}",
                    trace_id=mint.trace_id(),
                    phase=index,
                    warmup=phase.warmup,
                )
            )
        start_s += phase.for_s
    return tuple(schedule)


def expected_arrivals(phase: OpenPhase) -> float:
    """
    Return how many arrivals a phase has on average.
    """
    return sum(stretch.expected for stretch in _stretches(phase))


@dataclass(frozen=True, slots=True)
class _Tags:
    offset: int

    def nth(self, number: int) -> str:
        """
        Return a tag that no other number below 36⁴ has.
        """
        value = (self.offset + number * _STRIDE) % len(_ALPHABET) ** _TAG_LENGTH
        digits = []
        for _ in range(_TAG_LENGTH):
            value, digit = divmod(value, len(_ALPHABET))
            digits.append(_ALPHABET[digit])
        return "".join(digits)


def _stretches(phase: OpenPhase) -> list[_Stretch]:
    rate, lasts_s = phase.arrivals, phase.for_s
    peak = rate if phase.to is None else phase.to
    match phase.shape:
        case "constant":
            return [_Stretch(lasts_s, rate, rate)]
        case "ramp":
            return [_Stretch(lasts_s, rate, peak)]
        case "step":
            steps = phase.steps or 2
            rates = [rate + (peak - rate) * k / (steps - 1) for k in range(steps)]
            return [_Stretch(lasts_s / steps, each, each) for each in rates]
        case "spike":
            at_s = phase.spike.at if phase.spike else lasts_s / 3
            spike_s = phase.spike.lasts if phase.spike else lasts_s / 3
            parts = [
                _Stretch(at_s, rate, rate),
                _Stretch(spike_s, peak, peak),
                _Stretch(lasts_s - at_s - spike_s, rate, rate),
            ]
            return [part for part in parts if part.lasts_s > 0]


def _offsets_s(phase: OpenPhase, stream: random.Random) -> Iterator[float]:
    """
    Yield when arrivals are due, from the start of their phase.
    """
    counts = _even(stream) if phase.spacing == "even" else _poisson(stream)
    count = next(counts)
    before, start_s = 0.0, 0.0
    for stretch in _stretches(phase):
        while count < before + stretch.expected:
            yield start_s + stretch.offset_s(count - before)
            count = next(counts)
        before += stretch.expected
        start_s += stretch.lasts_s


def _poisson(stream: random.Random) -> Iterator[float]:
    count = 0.0
    while True:
        count += stream.expovariate(1.0)
        yield count


def _even(stream: random.Random) -> Iterator[float]:
    number = 0
    while True:
        yield number + 0.5 + stream.uniform(-_EVEN_JITTER, _EVEN_JITTER)
        number += 1


def _chosen(sends: Sequence[Send], stream: random.Random) -> Send:
    if len(sends) == 1:
        return sends[0]
    return stream.choices(sends, weights=[send.weight for send in sends])[0]
