"""
One pipeline per destination, made when it is first asked for.
"""

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import LimitExceededError
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.resilience.adaptive_limiter import AdaptiveLimiter
from harness.resilience.budget import make_budget
from harness.resilience.bulkhead import Bulkhead
from harness.resilience.circuit_breaker import CircuitBreaker
from harness.resilience.circuit_state import CircuitSnapshot, CircuitState
from harness.resilience.hedging import Hedging
from harness.resilience.options import (
    PipelineOptions,
    PipelinesOptions,
    RetryOptions,
)
from harness.resilience.outcome import Classifier
from harness.resilience.pipeline import Pipeline
from harness.resilience.rate_limiter import RateLimiter
from harness.resilience.retry import Retry
from harness.resilience.statistics import PipelineStatistics
from harness.resilience.strategy import Strategy

OptionsFor = Callable[[str], PipelineOptions]
"""Says how the pipeline of a destination behaves."""

_SET_BY_HAND = frozenset(
    {CircuitState.ISOLATED, CircuitState.DISABLED, CircuitState.OBSERVING}
)


@dataclass(slots=True, kw_only=True)
class _Destination:
    """
    What is remembered of a destination.
    """

    pipeline: Pipeline
    breaker: CircuitBreaker | None
    asked_s: float
    """When it was last asked for."""

    def may_be_forgotten(self, *, only_closed: bool) -> bool:
        """
        Return whether nothing is lost, or at worst the break of an open circuit.
        """
        if self.pipeline.in_flight:
            return False
        if self.breaker is None:
            return True
        if self.breaker.state in _SET_BY_HAND:
            return False
        return not only_closed or self.breaker.state is CircuitState.CLOSED


class CircuitGroup:
    """
    One circuit, or all members of an aggregate, to be handled together.
    """

    def __init__(self, members: Sequence[CircuitBreaker]) -> None:
        self.members = tuple(members)

    def isolate(self) -> None:
        """
        Let nothing through until somebody says otherwise.
        """
        for member in self.members:
            member.isolate()

    def reset(self) -> None:
        """
        Close and forget everything.
        """
        for member in self.members:
            member.reset()

    def snapshots(self) -> list[CircuitSnapshot]:
        """
        Return the members as they stand.
        """
        return [member.snapshot() for member in self.members]


class Pipelines:
    """
    The pipelines of all destinations.

    A destination that is not used for a while is forgotten, the least recently used
    first when there are too many; one with calls under way, or with a circuit that was
    set by hand, never is.

    Args:
        options_for: Says how the pipeline of a destination behaves; asked once, when
            the destination is first used.
        classify: What an attempt tells, the same for all of them.
        ids: Mints idempotency keys; None takes a stream of ``randomness``.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
        options_for: OptionsFor,
        classify: Classifier,
        ids: IdMint | None = None,
        options: PipelinesOptions | None = None,
    ) -> None:
        self._clock = clock
        # One stream for all destinations: their number is not bounded over time.
        self._draws = randomness.stream("resilience")
        self._bus = bus
        self._options_for = options_for
        self._classify = classify
        self._ids = ids or IdMint(randomness.stream("resilience.idempotency_key"))
        self._options = options or PipelinesOptions()
        self._known: collections.OrderedDict[str, _Destination] = (
            collections.OrderedDict()
        )
        self._isolated: set[str] = set()

    def for_destination(self, name: str) -> Pipeline:
        """
        Return the pipeline of a destination, the same one as long as it is in use.

        Raises:
            LimitExceededError: Too many destinations are in use at once.
        """
        now_s = self._clock.monotonic()
        destination = self._known.get(name)
        if destination is None:
            self._make_room(now_s)
            destination = self._known[name] = self._build(name, now_s)
        else:
            destination.asked_s = now_s
            self._known.move_to_end(name)
        return destination.pipeline

    def circuits(self) -> list[CircuitSnapshot]:
        """
        Return all circuits as they stand, by name.
        """
        return [breaker.snapshot() for _, breaker in sorted(self._breakers().items())]

    def statistics(self) -> list[PipelineStatistics]:
        """
        Return what each pipeline has done and how it stands, by name.
        """
        return [
            destination.pipeline.statistics()
            for _, destination in sorted(self._known.items())
        ]

    def circuit(self, name: str) -> CircuitGroup:
        """
        Return the circuit of that name, or the members of the aggregate of that name.

        Raises:
            KeyError: No destination of that name was used.
        """
        breakers = self._breakers()
        if name in breakers:
            return CircuitGroup([breakers[name]])
        members = [key for key in sorted(breakers) if key.startswith(f"{name}/")]
        if not members:
            raise KeyError(name)
        return CircuitGroup([breakers[key] for key in members])

    def isolate(self, name: str) -> None:
        """
        Let nothing through a circuit, or through any member of an aggregate.

        Members that an isolated aggregate gets later are isolated from their beginning.

        Raises:
            KeyError: No destination of that name was used.
        """
        group = self.circuit(name)
        if name not in self._known:
            self._isolated.add(name)
        group.isolate()

    def reset(self, name: str) -> None:
        """
        Close a circuit, or all members of an aggregate, and forget everything.

        Raises:
            KeyError: No destination of that name was used.
        """
        self.circuit(name).reset()
        self._isolated.discard(name)

    def _breakers(self) -> dict[str, CircuitBreaker]:
        return {
            name: destination.breaker
            for name, destination in self._known.items()
            if destination.breaker is not None
        }

    def _build(self, name: str, now_s: float) -> _Destination:
        options = self._options_for(name)
        breaker = (
            None
            if options.circuit_breaker is None
            else CircuitBreaker(
                name,
                options=options.circuit_breaker,
                clock=self._clock,
                bus=self._bus,
                draws=self._draws,
            )
        )
        if breaker is not None and any(
            name.startswith(f"{aggregate}/") for aggregate in self._isolated
        ):
            breaker.isolate()
        pipeline = Pipeline(
            name,
            strategies=self._strategies(name, options, breaker),
            classify=self._classify,
            clock=self._clock,
            bus=self._bus,
            ids=self._ids,
            total_timeout_s=options.total_timeout_s,
            attempt_timeout_s=options.attempt_timeout_s,
        )
        return _Destination(pipeline=pipeline, breaker=breaker, asked_s=now_s)

    def _strategies(
        self, name: str, options: PipelineOptions, breaker: CircuitBreaker | None
    ) -> list[Strategy]:
        clock, bus = self._clock, self._bus
        strategies: list[Strategy] = []
        retry = options.retry
        # Who hedges without retries takes from the budget that retries would have had.
        budget = make_budget((retry or RetryOptions()).budget, clock=clock)
        if retry is not None:
            strategies.append(
                Retry(
                    options=retry,
                    budget=budget,
                    clock=clock,
                    bus=bus,
                    draws=self._draws,
                )
            )
        if options.hedging is not None:
            strategies.append(
                Hedging(
                    options=options.hedging,
                    budget=budget,
                    clock=clock,
                    bus=bus,
                    counts_calls=retry is None,
                )
            )
        if breaker is not None:
            strategies.append(breaker)
        if options.adaptive_limiter is not None:
            strategies.append(
                AdaptiveLimiter(
                    name, options=options.adaptive_limiter, clock=clock, bus=bus
                )
            )
        if options.bulkhead is not None:
            strategies.append(
                Bulkhead(name, options=options.bulkhead, clock=clock, bus=bus)
            )
        if options.rate_limiter is not None:
            strategies.append(
                RateLimiter(name, options=options.rate_limiter, clock=clock, bus=bus)
            )
        return strategies

    def _make_room(self, now_s: float) -> None:
        idle_since_s = now_s - self._options.idle_s
        for name in [
            name
            for name, destination in self._known.items()
            if destination.asked_s <= idle_since_s
            and destination.may_be_forgotten(only_closed=True)
        ]:
            del self._known[name]
        if len(self._known) < self._options.destinations_max:
            return
        for only_closed in (True, False):
            for name, destination in self._known.items():
                if destination.may_be_forgotten(only_closed=only_closed):
                    del self._known[name]
                    return
        raise LimitExceededError(
            limit="destinations_max", value=self._options.destinations_max
        )
