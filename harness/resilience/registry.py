"""
One pipeline per destination, made when it is first asked for.
"""

from collections.abc import Callable

from harness.bus import EventBus
from harness.clock import Clock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.resilience.circuit_state import CircuitSnapshot
from harness.resilience.options import PipelineOptions, PipelinesOptions
from harness.resilience.outcome import Classifier
from harness.resilience.pipeline import Pipeline

OptionsFor = Callable[[str], PipelineOptions]


class Pipelines:
    """
    The pipelines of all destinations.

    Args:
        options_for: Says how the pipeline of a destination behaves.
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
        self._randomness = randomness
        self._bus = bus
        self._options_for = options_for
        self._classify = classify
        self._ids = ids or IdMint(randomness.stream("resilience.idempotency_key"))
        self._options = options or PipelinesOptions()
        self._pipelines: dict[str, Pipeline] = {}

    def for_destination(self, name: str) -> Pipeline:
        """
        Return the pipeline of a destination, the same one each time.
        """
        pipeline = self._pipelines.get(name)
        if pipeline is None:
            options = self._options_for(name)
            pipeline = self._pipelines[name] = Pipeline(
                name,
                classify=self._classify,
                clock=self._clock,
                bus=self._bus,
                ids=self._ids,
                total_timeout_s=options.total_timeout_s,
                attempt_timeout_s=options.attempt_timeout_s,
            )
        return pipeline

    def circuits(self) -> list[CircuitSnapshot]:
        """
        Return all circuits as they stand, by name.
        """
        return []
