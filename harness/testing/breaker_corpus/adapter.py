"""
What a circuit breaker has to offer to be put through the corpus.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

Function = Callable[[], Awaitable[Any]]
"""A call that a breaker stands in front of."""


class PeerFailedError(Exception):
    """
    What a call raises that says that the peer is not well.
    """


class NeutralError(Exception):
    """
    What a call raises that says nothing about the peer; adapters declare it so.
    """


class NotOfferedError(Exception):
    """
    A breaker has nothing that corresponds to what the corpus asks for.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """
    How a breaker is to be set up; what is None or off need not be offered.
    """

    failure_threshold: int | None = 5
    """So many failures in a row open it."""

    failure_ratio: float | None = None
    """So large a share of the window opens it."""

    minimum_throughput: int = 1
    """Below so many samples the ratios are not judged."""

    slow_ratio: float | None = None
    slow_call_s: float = 60.0
    window_calls: int | None = None
    sampling_duration_s: float | None = None
    window_buckets: int = 10
    break_duration_s: float = 30.0
    break_factor: float = 1.0
    auto_half_open: bool = False
    """Whether it is half-open at the end of the break without being asked."""

    probes_max: int = 3
    successes_to_close: int = 3


_OFF: Final = BreakerSettings()
_ALWAYS_MEANT: Final = frozenset(
    {"failure_threshold", "break_duration_s", "auto_half_open"}
)


class BreakerAdapter:
    """
    Drives one kind of circuit breaker; an adapter overrides what its breaker offers.

    Time is that of a simulated loop: ``time.time``, ``time.monotonic``,
    ``datetime.now`` and the loop's own clock are virtual, so that breakers run as they
    are.

    Attributes:
        distribution: What to install, as it stands in the table.
        refusals: What a call raises that was not let through.
        probes_max: Calls at once that a half-open circuit promises to admit at most;
            None if it promises nothing.
        successes_to_close: So many probes close it.
    """

    distribution: ClassVar[str]
    refusals: ClassVar[tuple[type[Exception], ...]]
    probes_max: int | None = None
    successes_to_close: int = 1

    def __init__(self, settings: BreakerSettings) -> None:
        raise NotImplementedError

    async def call(self, function: Function) -> Any:
        """
        Make a call through the breaker.
        """
        raise NotImplementedError

    @property
    def state(self) -> str:
        """
        ``closed``, ``open``, ``half_open`` or a state set by hand.
        """
        raise NotImplementedError

    def remaining_s(self, refusal: Exception) -> float | None:
        """
        Return how long a refusal says that calls are refused, None if it does not say.
        """
        del refusal
        return None

    def listen(self, listener: Callable[[], None]) -> None:
        """
        Call ``listener`` whenever the state changes.

        Raises:
            NotOfferedError: It has no listeners.
        """
        del listener
        not_offered("listeners")

    def force(self, state: str) -> None:
        """
        Bring it into a state by hand.

        Args:
            state: ``closed``, ``open``, ``half_open``, ``forced_open``, ``disabled`` or
                ``metrics_only``.

        Raises:
            NotOfferedError: That cannot be done by hand.
        """
        not_offered(f"{state} by hand")

    def reset(self) -> None:
        """
        Close it and forget everything.
        """
        self.force("closed")


def not_offered(what: str) -> NoReturn:
    """
    Say that a breaker has nothing like that.

    Raises:
        NotOfferedError: Always.
    """
    raise NotOfferedError(what)


def offers_only(settings: BreakerSettings, *names: str) -> None:
    """
    Refuse settings beyond those that a breaker has.

    How many probes there are, and how many close it, is no reason to refuse: the
    adapter says what the breaker does.

    Raises:
        NotOfferedError: Something else is asked for.
    """
    tolerated = _ALWAYS_MEANT | {"probes_max", "successes_to_close", *names}
    for field in dataclasses.fields(settings):
        wanted = getattr(settings, field.name)
        if field.name not in tolerated and wanted != getattr(_OFF, field.name):
            not_offered(field.name)
    if settings.failure_threshold is None and "failure_ratio" not in names:
        not_offered("rules other than failures in a row")
