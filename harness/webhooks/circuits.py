"""
One circuit per endpoint: an endpoint that keeps failing is left alone for a while.

While a circuit is open nothing is claimed for its endpoint, so that no attempt is spent
on it; when the break is over the oldest delivery that is due is the probe.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from harness.bus import EventBus
from harness.clock import Clock
from harness.events import CircuitChanged, Envelope, WebhookCircuitChanged
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitBreakerOptions,
    CircuitState,
    Classified,
    Outcome,
    Pipeline,
    classify_error,
    classify_status,
)
from harness.webhooks.schedule import Answer

_OUR_OWN = frozenset({"no_endpoint", "invalid_url", "egress_denied", "internal_error"})
"""Reasons that say nothing about the endpoint."""


class _NotDeliveredError(Exception):
    """
    An attempt that was not acknowledged, on its way through the pipeline.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class _Known(NamedTuple):
    """
    What stands between the sender and an endpoint.
    """

    breaker: CircuitBreaker | None
    pipeline: Pipeline


class EndpointCircuits:
    """
    The pipelines of all endpoints.

    Args:
        options: When an endpoint is left alone, and for how long; None for never.
        bus: Is told when a circuit changes.
    """

    def __init__(
        self,
        *,
        options: CircuitBreakerOptions | None,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
    ) -> None:
        self._options = options
        self._clock = clock
        self._draws = randomness.stream("webhook_circuits")
        self._bus = bus
        # What an attempt comes to is told by the sender, in the words of webhooks.
        self._inner_bus = EventBus(clock=clock)
        self._listening = self._inner_bus.listening(self._tell)
        self._listening.__enter__()
        # No more than there are endpoints.
        self._known: dict[str, _Known] = {}

    def room(self, endpoint: str) -> int | None:
        """
        Return how many attempts would be let through, None for any number.
        """
        breaker = self._of(endpoint).breaker
        return None if breaker is None else breaker.room()

    def refuses_for_s(self, endpoint: str) -> float:
        """
        Return how long an endpoint is left alone from here on.
        """
        breaker = self._of(endpoint).breaker
        return 0.0 if breaker is None else breaker.refuses_for_s()

    def is_closed(self, endpoint: str) -> bool:
        """
        Say whether an endpoint is served as usual.
        """
        breaker = self._of(endpoint).breaker
        return breaker is None or breaker.state is CircuitState.CLOSED

    async def attempt(
        self, endpoint: str, call: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """
        Make an attempt through the pipeline of its endpoint.

        Raises:
            CircuitOpenError: There is no room for it; see :meth:`room`.
        """

        async def make(_attempt: Attempt) -> Answer:
            answer = await call()
            if not answer.is_success:
                raise _NotDeliveredError(answer)
            return answer

        pipeline = self._of(endpoint).pipeline
        try:
            return await pipeline.execute(make, operation="webhook")
        except _NotDeliveredError as error:
            return error.answer

    def _of(self, endpoint: str) -> _Known:
        known = self._known.get(endpoint)
        if known is None:
            known = self._known[endpoint] = self._make(endpoint)
        return known

    def _make(self, endpoint: str) -> _Known:
        breaker = (
            None
            if self._options is None
            else CircuitBreaker(
                endpoint,
                options=self._options,
                clock=self._clock,
                bus=self._inner_bus,
                draws=self._draws,
            )
        )
        pipeline = Pipeline(
            endpoint,
            strategies=() if breaker is None else (breaker,),
            classify=_classify,
            clock=self._clock,
            bus=self._inner_bus,
        )
        return _Known(breaker, pipeline)

    def _tell(self, envelope: Envelope) -> None:
        event = envelope.event
        if isinstance(event, CircuitChanged):
            self._bus.publish(
                WebhookCircuitChanged(
                    endpoint=event.circuit,
                    from_state=event.from_state,
                    to_state=event.to_state,
                    reason=event.reason,
                    failures=event.failures,
                    break_duration_s=event.break_duration_s,
                )
            )


def _classify(error: BaseException | None) -> Classified:
    if not isinstance(error, _NotDeliveredError):
        return classify_error(error)
    answer = error.answer
    if answer.status is not None:
        return classify_status(answer.status, retry_after_s=answer.pause_s)
    outcome = Outcome.IGNORED if answer.reason in _OUR_OWN else Outcome.FAILURE
    return Classified(outcome=outcome, reason=answer.reason)
