"""
Circuit breakers beside each other: the sixteen properties, measured.

Prints the table of docs/breakers.md and, with --reasons, what each broken property
looked like. The adapters of the peers are the examples for one of your own; those of
libraries with a synchronous core use its documented way around a block.
"""

import argparse
import datetime as dt
import logging
from collections.abc import Callable
from typing import Any, Final

import aiobreaker  # type: ignore[import-untyped]
import circuitbreaker  # type: ignore[import-untyped]
import interlock
import purgatory
import pybreaker
from purgatory.domain.model import OpenedState

from harness.testing.breaker_corpus import (
    BreakerAdapter,
    BreakerSettings,
    Function,
    NeutralError,
    OurBreaker,
    as_markdown,
    check_breaker,
    offers_only,
    reasons,
)

STATES: Final = {"half-open": "half_open", "half-opened": "half_open", "opened": "open"}


class PyBreaker(BreakerAdapter):
    """
    pybreaker: successes to close, any number of probes.
    """

    distribution = "pybreaker"
    refusals = (pybreaker.CircuitBreakerError,)

    def __init__(self, settings: BreakerSettings) -> None:
        offers_only(settings)
        self.successes_to_close = settings.successes_to_close
        self.breaker = pybreaker.CircuitBreaker(
            fail_max=settings.failure_threshold or 5,
            reset_timeout=settings.break_duration_s,
            success_threshold=settings.successes_to_close,
            exclude=[NeutralError],
            throw_new_error_on_trip=False,
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call inside its context manager.
        """
        with self.breaker.calling():
            return await function()

    @property
    def state(self) -> str:
        """
        Its state.
        """
        return STATES.get(self.breaker.current_state, self.breaker.current_state)

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Add a listener.
        """

        class Listening(pybreaker.CircuitBreakerListener):
            def state_change(self, *_: Any) -> None:
                listener()

        self.breaker.add_listener(Listening())

    def force(self, state: str) -> None:
        """
        Set it by hand.
        """
        by_hand = {"open": "open", "closed": "close", "half_open": "half_open"}
        if state not in by_hand:
            super().force(state)
        getattr(self.breaker, by_hand[state])()


class AioBreaker(BreakerAdapter):
    """
    aiobreaker: one success closes, any number of probes.
    """

    distribution = "aiobreaker"
    refusals = (aiobreaker.CircuitBreakerError,)

    def __init__(self, settings: BreakerSettings) -> None:
        offers_only(settings)
        self.breaker = aiobreaker.CircuitBreaker(
            fail_max=settings.failure_threshold or 5,
            timeout_duration=dt.timedelta(seconds=settings.break_duration_s),
            exclude=[NeutralError],
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call.
        """
        return await self.breaker.call_async(function)

    @property
    def state(self) -> str:
        """
        Its state.
        """
        return str(self.breaker.current_state.name).lower()

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Return what the refusal says.
        """
        left: dt.timedelta = refusal.time_remaining  # type: ignore[attr-defined]
        return left.total_seconds()

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Add a listener.
        """

        class Listening(aiobreaker.CircuitBreakerListener):  # type: ignore[misc]
            def state_change(self, *_: Any) -> None:
                listener()

        self.breaker.add_listener(Listening())

    def force(self, state: str) -> None:
        """
        Set it by hand.
        """
        by_hand = {"open": "open", "closed": "close", "half_open": "half_open"}
        if state not in by_hand:
            super().force(state)
        getattr(self.breaker, by_hand[state])()


class Purgatory(BreakerAdapter):
    """
    purgatory: one success closes, any number of probes.
    """

    distribution = "purgatory"
    refusals = (OpenedState,)

    def __init__(self, settings: BreakerSettings) -> None:
        offers_only(settings)
        self.breakers = purgatory.AsyncCircuitBreakerFactory(
            default_threshold=settings.failure_threshold or 5,
            default_ttl=settings.break_duration_s,
            exclude=[NeutralError],
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call inside its context manager.
        """
        breaker = await self.breakers.get_breaker("corpus")
        self.context = breaker.context
        async with breaker:
            return await function()

    @property
    def state(self) -> str:
        """
        Its state.
        """
        context = getattr(self, "context", None)
        return "closed" if context is None else STATES.get(context.state, context.state)

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Add a listener.
        """

        def heard(_name: str, kind: str, _event: object) -> None:
            if kind == "state_changed":
                listener()

        self.breakers.add_listener(heard)


class FabfuelBreaker(BreakerAdapter):
    """
    circuitbreaker: one success closes, any number of probes.
    """

    distribution = "circuitbreaker"
    refusals = (circuitbreaker.CircuitBreakerError,)

    def __init__(self, settings: BreakerSettings) -> None:
        offers_only(settings)
        self.breaker = circuitbreaker.CircuitBreaker(
            failure_threshold=settings.failure_threshold,
            recovery_timeout=settings.break_duration_s,
            expected_exception=lambda kind, _: not issubclass(kind, NeutralError),
            name="corpus",
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call.
        """

        async def call() -> Any:
            return await function()

        return await self.breaker.decorate(call)()

    @property
    def state(self) -> str:
        """
        Its state, computed when it is looked at.
        """
        return str(self.breaker.state)

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Return what the breaker in the refusal says.
        """
        remaining_s: float = refusal._circuit_breaker.open_remaining  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else tells
        return remaining_s


class Interlock(BreakerAdapter):
    """
    interlock-cb: a window, a bounded number of probes, judged as a round.
    """

    distribution = "interlock-cb"
    refusals = (interlock.CircuitOpenError,)

    def __init__(self, settings: BreakerSettings) -> None:
        offers_only(
            settings,
            *("failure_ratio", "minimum_throughput", "slow_ratio", "slow_call_s"),
            *("window_calls", "sampling_duration_s", "break_factor"),
        )
        self.probes_max = settings.probes_max
        self.successes_to_close = settings.successes_to_close
        self.listener = Listening()
        self.breaker = interlock.CircuitBreaker(
            name="corpus",
            config=interlock_config(settings),
            classifier=Classifier(),
            unreachable_exceptions=(NeutralError,),
            listener=self.listener,
        )

    async def call(self, function: Function) -> Any:
        """
        Make a call.
        """
        return await self.breaker.call_async(function)

    @property
    def state(self) -> str:
        """
        Its state.
        """
        return str(self.breaker.state.name).lower()

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Return what the refusal says.
        """
        return getattr(refusal, "retry_after", None)

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Tell the listener that it was made with.
        """
        self.listener.told = listener

    def force(self, state: str) -> None:
        """
        Set it by hand.
        """
        by_hand = {
            "forced_open": self.breaker.force_open,
            "disabled": self.breaker.disable,
            "metrics_only": self.breaker.metrics_only,
            "closed": self.breaker.reset,
        }
        if state not in by_hand:
            super().force(state)
        by_hand[state]()


class Listening(interlock.EventListener):
    """
    A listener of interlock that hands on changes of state.
    """

    told: Callable[[], None] | None = None

    def on_state_change(self, **_: Any) -> None:
        """
        Hand on.
        """
        if self.told is not None:
            self.told()


class Classifier:
    """
    What interlock counts as a failure.
    """

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        """
        Say whether a call failed.
        """
        del result
        return exception is not None and not isinstance(exception, NeutralError)


def interlock_config(settings: BreakerSettings) -> interlock.Config:
    """
    Return the settings in its words: a run of failures is a window full of them.
    """
    window = settings.window_calls or settings.sampling_duration_s
    if settings.failure_threshold is None:
        kind = "COUNT_BASED" if settings.window_calls else "TIME_BASED"
        ratio, minimum = settings.failure_ratio or 1.0, settings.minimum_throughput
    else:
        # So low that one failed probe of a round is enough to reopen.
        kind, ratio = "COUNT_BASED", 1 / (settings.probes_max + 1)
        window = minimum = settings.failure_threshold
    return interlock.Config(
        failure_rate_threshold=ratio,
        minimum_number_of_calls=minimum,
        slow_call_rate_threshold=settings.slow_ratio or 1.0,
        slow_call_duration_threshold=settings.slow_call_s,
        permitted_calls_in_half_open=settings.successes_to_close,
        max_concurrent_probes=settings.probes_max,
        wait_duration_in_open=settings.break_duration_s,
        wait_duration_backoff_multiplier=settings.break_factor,
        auto_transition=settings.auto_half_open,
        window_type=interlock.WindowType[kind],
        window_size=int(window or 10),
    )


BREAKERS: Final[tuple[type[BreakerAdapter], ...]] = (
    OurBreaker,
    PyBreaker,
    AioBreaker,
    Purgatory,
    FabfuelBreaker,
    Interlock,
)


def main() -> None:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reasons", action="store_true")
    options = parser.parse_args()
    # Of listeners that raise on purpose.
    logging.getLogger("interlock").setLevel(logging.CRITICAL)
    columns = [check_breaker(breaker) for breaker in BREAKERS]
    print(as_markdown(columns))
    if options.reasons:
        print(f"\n{reasons(columns)}")


if __name__ == "__main__":
    main()
