"""
What follows an attempt, as a function of values.

Any 2xx is a delivery. Everything else is a failure: it is tried again on schedule,
not sooner than ``Retry-After`` allows, and after the last attempt it is dead at once.
410 says that nobody will ever listen there, and ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self

from harness.errors import OptionsError, check_options
from harness.stores import Delivered, GiveUp, NextStep, RetryAt

RETRY_AFTER_MAX_S: Final = 86_400.0
"""A peer cannot ask for a longer pause."""

GONE: Final = "gone"
ATTEMPTS_MAX: Final = "attempts_max"

_PAUSING: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What an attempt came to.
    """

    reason: str
    """``ok``, ``status_500``, ``timeout``, ``refused``, ``reset``, ``closed``, …"""

    status: int | None = None
    """None if no answer came."""

    retry_after_s: float | None = None
    """The usable wait that the endpoint asked for."""

    @property
    def is_success(self) -> bool:
        """
        Whether the endpoint acknowledged.
        """
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 - 2xx

    @property
    def pause_s(self) -> float | None:
        """
        How long the endpoint wants to be left alone, bounded.
        """
        if self.status not in _PAUSING or self.retry_after_s is None:
            return None
        return min(self.retry_after_s, RETRY_AFTER_MAX_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """
    The waits between the attempts of a delivery.
    """

    delays_s: Sequence[float] = (1.0, 2.0)
    """The wait after the first attempt, after the second, …; one more attempt than
    there are waits."""

    jitter_ratio: float = 0.0
    """Each wait is moved by up to this share of itself, either way."""

    def __post_init__(self) -> None:
        check_options(
            self,
            delays_s=all(delay_s >= 0 for delay_s in self.delays_s),
            jitter_ratio=0 <= self.jitter_ratio < 1,
        )

    @property
    def attempts_max(self) -> int:
        """
        The attempts of a delivery, the first included.
        """
        return len(self.delays_s) + 1

    @classmethod
    def doubling(
        cls,
        *,
        attempts_max: int = 3,
        first_delay_s: float = 1.0,
        delay_max_s: float = 3600.0,
        jitter_ratio: float = 0.0,
    ) -> Self:
        """
        Return a schedule whose waits double up to a cap; the default is the article's.

        Raises:
            OptionsError: There is no attempt, or a wait makes no sense.
        """
        if attempts_max < 1:
            raise OptionsError(
                owner=cls.__name__, fields={"attempts_max": attempts_max}
            )
        delays_s = [
            min(first_delay_s * 2.0**exponent, delay_max_s)
            for exponent in range(attempts_max - 1)
        ]
        return cls(delays_s=tuple(delays_s), jitter_ratio=jitter_ratio)

    @classmethod
    def standard(cls) -> Self:
        """
        Return the schedule of Standard Webhooks: ten attempts over three days.
        """
        minute_s, hour_s = 60.0, 3600.0
        return cls(
            delays_s=(
                5.0,
                5 * minute_s,
                30 * minute_s,
                2 * hour_s,
                5 * hour_s,
                10 * hour_s,
                14 * hour_s,
                20 * hour_s,
                24 * hour_s,
            ),
            jitter_ratio=0.2,
        )

    def delay_s(self, attempt_number: int, draw: float) -> float:
        """
        Return the wait after a failed attempt.

        Args:
            attempt_number: From 1, and not the last.
            draw: Chance, in [0, 1).
        """
        delay_s = self.delays_s[attempt_number - 1]
        return delay_s * (1 + self.jitter_ratio * (2 * draw - 1))


def next_step(
    answer: Answer,
    *,
    attempt_number: int,
    schedule: RetrySchedule,
    now_s: float,
    draw: float,
) -> NextStep:
    """
    Return what becomes of a delivery.

    Args:
        answer: What its latest attempt came to.
        attempt_number: Of that attempt, from 1.
        schedule: How long to wait, and how often.
        now_s: The wall clock, in Unix seconds.
        draw: Chance, in [0, 1), for the jitter.
    """
    if answer.is_success:
        return Delivered()
    if answer.status == HTTPStatus.GONE:
        return GiveUp(reason=GONE)
    if attempt_number >= schedule.attempts_max:
        return GiveUp(reason=ATTEMPTS_MAX)
    delay_s = schedule.delay_s(attempt_number, draw)
    return RetryAt(due_s=now_s + max(delay_s, answer.pause_s or 0.0))
