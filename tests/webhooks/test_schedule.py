"""
What follows an attempt: tables.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import OptionsError
from harness.stores import Delivered, GiveUp, NextStep, RetryAt
from harness.webhooks import Answer, RetrySchedule, next_step

NOW_S = 1_700_000_000.0
ARTICLE = RetrySchedule.doubling()


def step(
    answer: Answer,
    *,
    attempt_number: int = 1,
    schedule: RetrySchedule = ARTICLE,
    draw: float = 0.5,
) -> NextStep:
    """
    Return what follows at a fixed time.
    """
    return next_step(
        answer,
        attempt_number=attempt_number,
        schedule=schedule,
        now_s=NOW_S,
        draw=draw,
    )


def answered(status: int, *, retry_after_s: float | None = None) -> Answer:
    """
    Return an answer with a status.
    """
    return Answer(reason=f"status_{status}", status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
@pytest.mark.parametrize("attempt_number", [1, 3])
def test_any_2xx_is_a_delivery(status: int, attempt_number: int) -> None:
    """
    Every status from 200 to 299 acknowledges, on whatever attempt.
    """
    assert step(answered(status), attempt_number=attempt_number) == Delivered()


@pytest.mark.parametrize(
    "status",
    [
        *(101, 199, 300, 301, 302, 303, 304, 307, 308),
        *(400, 401, 403, 404, 409, 422, 429, 500, 501, 502, 503, 504, 599),
    ],
)
def test_everything_else_is_tried_again(status: int) -> None:
    """
    Redirects, client errors and server errors are failures, tried again on schedule.
    """
    assert step(answered(status)) == RetryAt(due_s=NOW_S + 1.0)


@pytest.mark.parametrize("reason", ["timeout", "refused", "reset", "closed", "dns"])
def test_no_answer_is_tried_again(reason: str) -> None:
    """
    An attempt without an answer is a failure like any other.
    """
    assert step(Answer(reason=reason)) == RetryAt(due_s=NOW_S + 1.0)


@pytest.mark.parametrize("attempt_number", [1, 2, 3])
def test_gone_ends_it(attempt_number: int) -> None:
    """
    410 says that nobody will listen there: it is given up at once.
    """
    assert step(answered(410), attempt_number=attempt_number) == GiveUp(reason="gone")


def test_the_articles_schedule_waits_one_and_two_seconds() -> None:
    """
    Three attempts, a wait of one second and one of two, and then no wait at all.
    """
    steps = [step(answered(500), attempt_number=number) for number in (1, 2, 3)]

    assert steps == [
        RetryAt(due_s=NOW_S + 1.0),
        RetryAt(due_s=NOW_S + 2.0),
        GiveUp(reason="attempts_max"),
    ]


def test_doubling_is_capped() -> None:
    """
    Waits double up to the cap and stay there.
    """
    schedule = RetrySchedule.doubling(
        attempts_max=6, first_delay_s=0.1, delay_max_s=0.5
    )

    assert schedule.delays_s == (0.1, 0.2, 0.4, 0.5, 0.5)
    assert schedule.attempts_max == 6


def test_one_attempt_means_no_retry() -> None:
    """
    A schedule without waits gives up after the first attempt.
    """
    schedule = RetrySchedule.doubling(attempts_max=1)

    assert step(answered(500), schedule=schedule) == GiveUp(reason="attempts_max")


@given(number=st.integers(1, 9), draw=st.floats(0, 1, exclude_max=True))
def test_the_standard_schedule_has_a_fifth_of_jitter(number: int, draw: float) -> None:
    """
    Ten attempts; each wait is within a fifth of the published one.
    """
    schedule = RetrySchedule.standard()
    hours = [5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]

    ratio = schedule.delay_s(number, draw) / 3600 / hours[number - 1]

    assert schedule.attempts_max == 10
    assert ratio == pytest.approx(0.8 + 0.4 * draw)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked_s", "waited_s"),
    [(None, 1.0), (0.5, 1.0), (1.0, 1.0), (7.5, 7.5), (86_400, 86_400), (1e9, 86_400)],
)
def test_retry_after_is_a_floor_with_a_cap(
    status: int, asked_s: float | None, waited_s: float
) -> None:
    """
    A longer wait is kept up to a day; a shorter one does not hurry.
    """
    answer = answered(status, retry_after_s=asked_s)

    assert step(answer) == RetryAt(due_s=NOW_S + waited_s)


@pytest.mark.parametrize("status", [500, 404, 301])
def test_retry_after_counts_for_429_and_503_only(status: int) -> None:
    """
    Other answers cannot pause an endpoint.
    """
    answer = answered(status, retry_after_s=60.0)

    assert answer.pause_s is None
    assert step(answer) == RetryAt(due_s=NOW_S + 1.0)


def test_retry_after_does_not_add_an_attempt() -> None:
    """
    After the last attempt it is dead at once, whatever was asked.
    """
    answer = answered(503, retry_after_s=60.0)

    assert step(answer, attempt_number=3) == GiveUp(reason="attempts_max")


def test_refuses_schedules_that_make_no_sense() -> None:
    """
    Negative waits and a jitter of one or more are refused together.
    """
    with pytest.raises(OptionsError) as refused:
        RetrySchedule(delays_s=(1.0, -1.0), jitter_ratio=1.0)

    assert set(refused.value.fields) == {"delays_s", "jitter_ratio"}


@pytest.mark.parametrize("attempts_max", [0, -1])
def test_a_delivery_has_at_least_one_attempt(attempts_max: int) -> None:
    """
    A schedule of no attempts is refused.
    """
    with pytest.raises(OptionsError):
        RetrySchedule.doubling(attempts_max=attempts_max)
