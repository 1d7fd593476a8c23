"""
The retry budget.
"""

from collections.abc import Callable

import pytest

from harness.clock import LoopClock
from harness.resilience import RetryBudget, RetryBudgetOptions

pytestmark = pytest.mark.virtual_time

MakeBudget = Callable[..., RetryBudget]


@pytest.fixture
def make_budget(clock: LoopClock) -> MakeBudget:
    """
    Make a budget with the given options.
    """
    return lambda **settings: RetryBudget(
        options=RetryBudgetOptions(**settings), clock=clock
    )


def spend(budget: RetryBudget) -> int:
    """
    Take all retries there are and return how many.
    """
    taken = 0
    while budget.withdraw():
        taken += 1
    return taken


async def test_calls_earn_their_share(make_budget: MakeBudget) -> None:
    """
    Of a thousand calls a fifth may be retried, on top of the reserve.
    """
    budget = make_budget(share=0.2, reserve_per_s=10, window_s=10)
    budget.deposit(1000)

    assert spend(budget) == 300


async def test_reserve_is_there_without_calls(make_budget: MakeBudget) -> None:
    """
    A destination with few calls can still be retried.
    """
    assert spend(make_budget(share=0.2, reserve_per_s=1, window_s=10)) == 10
    assert spend(make_budget(share=0.2, reserve_per_s=0)) == 0


async def test_what_was_earned_and_spent_expires(
    make_budget: MakeBudget, clock: LoopClock
) -> None:
    """
    After the window neither old calls nor old retries count.
    """
    budget = make_budget(share=0.5, reserve_per_s=1, window_s=10)
    budget.deposit(100)
    assert spend(budget) == 60

    await clock.sleep(10)

    assert budget.balance() == pytest.approx(10)


async def test_amplification_stays_bounded(
    make_budget: MakeBudget, clock: LoopClock
) -> None:
    """
    When every call fails for a minute, traffic grows by the share and the reserve.
    """
    budget = make_budget(share=0.2, reserve_per_s=1, window_s=10)
    retries = 0
    for _ in range(60 * 50):
        budget.begin()
        retries += budget.withdraw() + budget.withdraw()
        await clock.sleep(1 / 50)

    assert 0.2 <= retries / 3000 <= 0.25
