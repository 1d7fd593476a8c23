"""
Fallback: a lesser answer for a refused call.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError
from harness.events import FallbackUsed
from harness.resilience import (
    Attempt,
    Degraded,
    Fallback,
    Pipeline,
    classify_error,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

Call = Callable[[Attempt], Awaitable[str]]
Answers = Callable[..., Call]


def refusal() -> CircuitOpenError:
    """
    Make a refusal.
    """
    return CircuitOpenError(circuit="upstream", state="open", retry_after_s=1)


@pytest.fixture
def make_pipeline_with(
    clock: LoopClock, bus: EventBus
) -> Callable[[Callable[[Exception], Awaitable[object]]], Pipeline]:
    """
    Make a pipeline with a fallback alone.
    """
    return lambda answer: Pipeline(
        "upstream",
        strategies=[Fallback(answer=answer, bus=bus)],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )


MakePipelineWith = Callable[[Callable[[Exception], Awaitable[object]]], Pipeline]


async def lesser(error: Exception) -> str:
    """
    Answer with the name of the error.
    """
    return f"lesser, after {type(error).__name__}"


async def test_refused_call_is_answered_and_marked(
    make_pipeline_with: MakePipelineWith, answers: Answers, recorder: Recorder
) -> None:
    """
    A refusal is answered by the fallback; nobody can take that for the real answer.
    """
    pipeline = make_pipeline_with(lesser)

    result: object = await pipeline.execute(answers(refusal()), operation="chat")

    assert isinstance(result, Degraded)
    assert result.value == "lesser, after CircuitOpenError"
    assert isinstance(result.error, CircuitOpenError)
    assert [event.reason for event in recorder.of(FallbackUsed)] == ["circuit_open"]


async def test_failures_are_not_covered_up(
    make_pipeline_with: MakePipelineWith, answers: Answers, recorder: Recorder
) -> None:
    """
    An error that is not listed leaves as it is.
    """
    pipeline = make_pipeline_with(lesser)

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert recorder.of(FallbackUsed) == []


async def test_cancellation_is_never_answered(
    make_pipeline_with: MakePipelineWith, hang: Call, clock: LoopClock
) -> None:
    """
    A caller that goes away gets no fallback.
    """
    pipeline = make_pipeline_with(lesser)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pipeline.execute(hang, operation="chat"))
        await clock.sleep(1)
        task.cancel()

    assert task.cancelled()


async def test_a_fallback_that_fails_names_the_refusal(
    make_pipeline_with: MakePipelineWith, answers: Answers
) -> None:
    """
    The error of a fallback has the refusal as its cause.
    """

    async def broken(error: Exception) -> str:
        raise ZeroDivisionError(str(error))

    pipeline = make_pipeline_with(broken)

    with pytest.raises(ZeroDivisionError) as caught:
        await pipeline.execute(answers(refusal()), operation="chat")

    assert isinstance(caught.value.__cause__, CircuitOpenError)
