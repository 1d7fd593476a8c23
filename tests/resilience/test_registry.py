"""
The pipelines of all destinations.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, LimitExceededError
from harness.resilience import Attempt, Pipeline, Pipelines, PipelinesOptions

pytestmark = pytest.mark.virtual_time

MakePipelines = Callable[..., Pipelines]
Call = Callable[[Attempt], Awaitable[str]]
Answers = Callable[..., Call]


async def fail_until_open(pipeline: Pipeline, call: Call) -> None:
    """
    Make calls until the circuit refuses them.
    """
    while True:
        try:
            await pipeline.execute(call, operation="chat")
        except CircuitOpenError:
            return
        except ConnectionResetError:
            continue


async def test_each_destination_has_its_own(
    make_pipelines: MakePipelines, answers: Answers
) -> None:
    """
    One destination that fails does not keep others from being called.
    """
    pipelines = make_pipelines(retry=None)
    bad = pipelines.for_destination("upstream/bad")
    good = pipelines.for_destination("upstream/good")

    await fail_until_open(bad, answers(ConnectionResetError()))

    assert await good.execute(answers("hello"), operation="chat") == "hello"
    assert pipelines.for_destination("upstream/bad") is bad
    assert [(c.name, c.state) for c in pipelines.circuits()] == [
        ("upstream/bad", "open"),
        ("upstream/good", "closed"),
    ]


async def test_circuits_are_handled_by_name_or_together(
    make_pipelines: MakePipelines, answers: Answers
) -> None:
    """
    A circuit is isolated and reset by its name, all members by that of the aggregate.
    """
    pipelines = make_pipelines()
    for name in ("upstream/a", "upstream/b", "webhook/default"):
        pipelines.for_destination(name)

    pipelines.circuit("upstream").isolate()
    pipelines.circuit("upstream/a").reset()

    assert {c.name: c.state.value for c in pipelines.circuits()} == {
        "upstream/a": "closed",
        "upstream/b": "isolated",
        "webhook/default": "closed",
    }
    with pytest.raises(CircuitOpenError):
        await pipelines.for_destination("upstream/b").execute(
            answers("hello"), operation="chat"
        )
    with pytest.raises(KeyError):
        pipelines.circuit("nobody")


def test_an_isolated_aggregate_isolates_who_comes_later(
    make_pipelines: MakePipelines,
) -> None:
    """
    Nobody gets around an isolated aggregate by being a member that is not there yet.
    """
    pipelines = make_pipelines()
    pipelines.for_destination("upstream/a")

    pipelines.isolate("upstream")
    pipelines.for_destination("upstream/b")
    pipelines.for_destination("webhook/default")
    isolated = {c.name: c.state.value for c in pipelines.circuits()}
    pipelines.reset("upstream")
    pipelines.for_destination("upstream/c")

    assert isolated == {
        "upstream/a": "isolated",
        "upstream/b": "isolated",
        "webhook/default": "closed",
    }
    assert {c.state.value for c in pipelines.circuits()} == {"closed"}
    with pytest.raises(KeyError):
        pipelines.isolate("nobody")


async def test_number_of_destinations_is_bounded(
    make_pipelines: MakePipelines, answers: Answers
) -> None:
    """
    The least recently used destination is forgotten, but a closed one before an open.
    """
    pipelines = make_pipelines(
        retry=None, registry=PipelinesOptions(destinations_max=3)
    )
    await fail_until_open(
        pipelines.for_destination("open"), answers(ConnectionResetError())
    )
    pipelines.for_destination("old")
    pipelines.for_destination("recent")
    pipelines.for_destination("new")

    assert [circuit.name for circuit in pipelines.circuits()] == [
        "new",
        "open",
        "recent",
    ]


async def test_destinations_in_use_are_never_forgotten(
    make_pipelines: MakePipelines, hang: Call, clock: LoopClock
) -> None:
    """
    With too many destinations in use at once a further one is refused.
    """
    pipelines = make_pipelines(registry=PipelinesOptions(destinations_max=2))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            pipelines.for_destination("busy").execute(hang, operation="chat")
        )
        await clock.sleep(1)
        pipelines.for_destination("isolated")
        pipelines.circuit("isolated").isolate()

        with pytest.raises(LimitExceededError, match="destinations_max"):
            pipelines.for_destination("another")

        task.cancel()


async def test_idle_destinations_expire(
    make_pipelines: MakePipelines, clock: LoopClock
) -> None:
    """
    A destination that nobody asked for in a while makes room when one is added.
    """
    pipelines = make_pipelines(registry=PipelinesOptions(idle_s=60))
    pipelines.for_destination("idle")
    await clock.sleep(30)
    pipelines.for_destination("used")
    await clock.sleep(30)

    pipelines.for_destination("new")

    assert [circuit.name for circuit in pipelines.circuits()] == ["new", "used"]


async def test_strategies_can_be_switched_off(
    make_pipelines: MakePipelines, answers: Answers
) -> None:
    """
    A destination without a breaker has no circuit, and its calls are all made.
    """
    pipelines = make_pipelines(
        retry=None, circuit_breaker=None, rate_limiter=None, total_timeout_s=None
    )
    pipeline = pipelines.for_destination("upstream")

    for _ in range(50):
        with pytest.raises(ConnectionResetError):
            await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert pipelines.circuits() == []
    assert pipeline.strategies == ()
