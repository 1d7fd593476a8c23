"""
The adapter of the breaker that comes with this package.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError, OptionsError, TransitionError
from harness.events import CircuitChanged, Envelope
from harness.randomness import Randomness
from harness.resilience import (
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    Outcome,
    Pipeline,
    classify_error,
)
from harness.testing.breaker_corpus.adapter import (
    BreakerAdapter,
    BreakerSettings,
    Function,
    NeutralError,
    not_offered,
)

_STATES = {"isolated": "forced_open", "observing": "metrics_only"}


def _classify(error: BaseException | None) -> Classified:
    if isinstance(error, NeutralError):
        return Classified(outcome=Outcome.IGNORED, reason="neutral")
    return classify_error(error)


class OurBreaker(BreakerAdapter):
    """
    ``harness.resilience``.
    """

    distribution = "toolcall-harness"
    refusals = (CircuitOpenError,)

    def __init__(self, settings: BreakerSettings) -> None:
        self.probes_max = settings.probes_max
        self.successes_to_close = settings.successes_to_close
        self._clock = LoopClock()
        self._bus = EventBus(clock=self._clock)
        self._listening = contextlib.ExitStack()
        self._breaker = CircuitBreaker(
            "corpus",
            options=_options(settings),
            clock=self._clock,
            bus=self._bus,
            draws=Randomness(1).stream("breaker"),
        )
        self._pipeline = Pipeline(
            "corpus",
            strategies=[self._breaker],
            classify=_classify,
            clock=self._clock,
            bus=self._bus,
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call through a pipeline with nothing else in it.
        """
        return await self._pipeline.execute(
            lambda _attempt: function(), operation="call"
        )

    @property
    def state(self) -> str:
        """
        The state, by the words of the corpus.
        """
        return _STATES.get(self._breaker.state.value, self._breaker.state.value)

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Return what the refusal says.
        """
        return getattr(refusal, "retry_after_s", None)

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Listen on the bus, for as long as the trial runs.
        """

        def heard(envelope: Envelope) -> None:
            if isinstance(envelope.event, CircuitChanged):
                listener()

        self._listening.enter_context(self._bus.listening(heard))

    def force(self, state: str) -> None:
        """
        Set it by hand.
        """
        by_hand = {
            "open": self._breaker.open,
            "half_open": self._breaker.half_open,
            "closed": self._breaker.close,
            "forced_open": self._breaker.isolate,
            "disabled": self._breaker.disable,
            "metrics_only": self._breaker.observe,
        }
        try:
            by_hand[state]()
        except TransitionError as error:
            not_offered(str(error))

    def reset(self) -> None:
        """
        Close it and forget everything.
        """
        self._breaker.reset()


def _options(settings: BreakerSettings) -> CircuitBreakerOptions:
    try:
        return _same_options(settings)
    except OptionsError as error:
        not_offered(str(error))


def _same_options(settings: BreakerSettings) -> CircuitBreakerOptions:
    return CircuitBreakerOptions(
        failure_threshold=settings.failure_threshold,
        failure_ratio=settings.failure_ratio,
        minimum_throughput=settings.minimum_throughput,
        slow_ratio=settings.slow_ratio,
        slow_call_s=settings.slow_call_s,
        slow_minimum_throughput=settings.minimum_throughput,
        window_calls=settings.window_calls,
        sampling_duration_s=settings.sampling_duration_s or 30.0,
        window_buckets=settings.window_buckets,
        break_duration_s=settings.break_duration_s,
        break_factor=settings.break_factor,
        auto_half_open=settings.auto_half_open,
        probes_max=settings.probes_max,
        successes_to_close=settings.successes_to_close,
    )
