"""
A corpus for circuit breakers: sixteen properties, and transcripts as data.

Any breaker is put through it by an adapter of about fifteen lines::

    class Mine(BreakerAdapter):
        distribution = "my-breaker"
        refusals = (my_breaker.OpenError,)

        def __init__(self, settings: BreakerSettings) -> None:
            offers_only(settings)
            self.breaker = my_breaker.Breaker(
                failures=settings.failure_threshold, pause_s=settings.break_duration_s
            )

        async def call(self, function: Function) -> Any:
            return await self.breaker.call(function)

        @property
        def state(self) -> str:
            return self.breaker.state

    print(as_markdown([check_breaker(Mine)]))

Time is virtual: breaks of half a minute and hours of hanging cost nothing. Calls that
the adapter's function makes raise :class:`PeerFailedError` for a failure and
:class:`NeutralError` for what a breaker is to ignore.
"""

from harness.testing.breaker_corpus.adapter import (
    BreakerAdapter,
    BreakerSettings,
    Function,
    NeutralError,
    NotOfferedError,
    PeerFailedError,
    not_offered,
    offers_only,
)
from harness.testing.breaker_corpus.ours import OurBreaker
from harness.testing.breaker_corpus.properties import PROPERTIES, Property
from harness.testing.breaker_corpus.table import (
    Column,
    Finding,
    Kept,
    as_markdown,
    check_breaker,
    check_property,
    check_transcripts,
    reasons,
)
from harness.testing.breaker_corpus.transcripts import Transcript, play, transcripts
from harness.testing.breaker_corpus.trial import HeldCall, Trial, run_trial

__all__ = [
    "PROPERTIES",
    "BreakerAdapter",
    "BreakerSettings",
    "Column",
    "Finding",
    "Function",
    "HeldCall",
    "Kept",
    "NeutralError",
    "NotOfferedError",
    "OurBreaker",
    "PeerFailedError",
    "Property",
    "Transcript",
    "Trial",
    "as_markdown",
    "check_breaker",
    "check_property",
    "check_transcripts",
    "not_offered",
    "offers_only",
    "play",
    "reasons",
    "run_trial",
    "transcripts",
]
