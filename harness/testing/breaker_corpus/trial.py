"""
One breaker under trial, in virtual time, with calls that end when the trial says so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from harness.clock import LoopClock
from harness.simulation import SimLoop
from harness.testing.breaker_corpus.adapter import (
    BreakerAdapter,
    BreakerSettings,
    NeutralError,
    NotOfferedError,
    PeerFailedError,
)

T = TypeVar("T")

MakeAdapter = Callable[[BreakerSettings], BreakerAdapter]

_ROUNDS: Final = 6
"""So often the loop goes round before what was begun is looked at."""

_ERRORS: Final = {"failure": PeerFailedError, "ignored": NeutralError}


class SteppableLoop(SimLoop):
    """
    A simulated loop whose wall clock somebody sets.
    """

    wall_step_s = 0.0

    def wall(self) -> float:
        """
        Return the wall time as somebody set it.
        """
        return super().wall() + self.wall_step_s


class HeldCall:
    """
    A call that was asked for and, if it was let through, has not ended.

    Attributes:
        refusal: What was raised if the breaker did not let it through.
        made: How often the function was called.
        error: What the caller got in the end, if it was an error.
    """

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.error: BaseException | None = None
        self.made = 0
        self.task: asyncio.Task[None]
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def is_admitted(self) -> bool:
        """
        Whether the call was let through.
        """
        return self.made > 0

    async def function(self) -> str:
        """
        Be called, and wait to be told how to end.
        """
        self.made += 1
        outcome = await self.end
        if outcome in _ERRORS:
            raise _ERRORS[outcome]
        return outcome


class Trial:
    """
    A fresh breaker and the means to call it.
    """

    def __init__(
        self, make: MakeAdapter, settings: BreakerSettings, tasks: asyncio.TaskGroup
    ) -> None:
        self.settings = settings
        self.breaker = make(settings)
        self.held: list[HeldCall] = []
        self._tasks = tasks
        self._clock = LoopClock()

    async def begin(self) -> HeldCall:
        """
        Ask for a call, and hold it if it is let through.
        """
        call = HeldCall()
        call.task = self._tasks.create_task(self._make(call))
        self.held.append(call)
        await self._go_round()
        return call

    async def end(self, call: HeldCall, outcome: str) -> None:
        """
        Let a held call end: ``success``, ``failure``, ``ignored`` or ``cancel``.
        """
        self.held.remove(call)
        if outcome == "cancel":
            call.task.cancel()
        elif not call.end.done():
            call.end.set_result(outcome)
        await self._go_round()

    async def one(self, outcome: str, *, duration_s: float = 0.0) -> HeldCall:
        """
        Make one call from beginning to end.
        """
        call = await self.begin()
        if call.is_admitted and duration_s:
            await self.pass_time(duration_s)
        await self.end(call, outcome)
        return call

    async def many(self, outcome: str, count: int) -> None:
        """
        Make several calls, one after the other.
        """
        for _ in range(count):
            await self.one(outcome)

    async def trip(self) -> None:
        """
        Fail calls until the circuit is open.
        """
        await self.many("failure", self.settings.failure_threshold or 1)
        self.require(self.breaker.state == "open", "failures in a row do not open it")

    async def half_open(self) -> None:
        """
        Open the circuit and wait until the break is over.
        """
        await self.trip()
        await self.pass_time(self.settings.break_duration_s + 0.1)

    async def pass_time(self, duration_s: float) -> None:
        """
        Let so much time go by, and timers fire.
        """
        await self._clock.sleep(duration_s)
        await self._go_round()

    def step_wall_clock(self, step_s: float) -> None:
        """
        Set the wall clock, and nothing else.
        """
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppableLoop)  # noqa: S101 - run_trial made it
        loop.wall_step_s += step_s

    def require(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - as assert
        """
        Fail the trial, and say why, unless something holds.

        Raises:
            AssertionError: It does not hold.
        """
        if not holds:
            raise AssertionError(otherwise)

    async def _make(self, call: HeldCall) -> None:
        try:
            await self.breaker.call(call.function)
        except self.breaker.refusals as refusal:
            call.error = refusal
            if not call.made:
                call.refusal = refusal
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is looked at
            call.error = error

    async def _go_round(self) -> None:
        for _ in range(_ROUNDS):
            await self._clock.sleep(0)


def run_trial(
    make: MakeAdapter,
    settings: BreakerSettings,
    test: Callable[[Trial], Awaitable[T]],
) -> T:
    """
    Put a fresh breaker through a test, on a loop of its own.
    """

    async def run() -> T | Exception:
        async with asyncio.TaskGroup() as tasks:
            try:
                trial = Trial(make, settings, tasks)
            except NotOfferedError as error:
                return error
            try:
                return await test(trial)
            except Exception as error:  # noqa: BLE001 - raised again, outside of the group
                return error
            finally:
                for call in trial.held:
                    call.task.cancel()

    with asyncio.Runner(loop_factory=lambda: SteppableLoop(seed=1)) as runner:
        result = runner.run(run())
    if isinstance(result, Exception):
        raise result
    return result
