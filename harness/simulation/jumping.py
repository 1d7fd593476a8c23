"""
The loop without its network: a clock that jumps, tasks and timers in order.

What the simulation needs of asyncio's private parts is in this file and nowhere
else, and a test says so when one of them changes.
"""
# ruff: noqa: SLF001 - see above

import asyncio
import collections
import contextvars
import ctypes
import heapq
import itertools
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from harness.errors import DeadlockError, StepLimitError
from harness.simulation.life import Life, current_life, life_of
from harness.simulation.waiting import describe_waiting

START_S: Final = 1_000.0
"""Where the clock starts: small, so that a microsecond is exact for years."""

STEPS_MAX: Final = 10_000_000
"""How often the loop may go round before it says that the program never ends."""

_STEPS_TO_CLEAN_UP: Final = 100_000
_CANCELLED_KEPT: Final = 100
_RESOLUTION_S: Final = 1e-9

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimTask(asyncio.Task[T]):
    """
    A task that is hashed by its number.

    asyncio keeps tasks in sets, whose order follows the hash; by default that is
    the address, which differs from process to process.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> None:
        loop = loop or asyncio.get_running_loop()
        # Before anything else: asyncio registers, and so hashes, the task.
        self.number = loop.next_task_number() if isinstance(loop, JumpingLoop) else 0
        self.life = life_of(context)
        name = name or f"task-{self.number}"
        super().__init__(coro, loop=loop, name=name, context=context, **options)

    def __hash__(self) -> int:
        return self.number

    def describe(self) -> str:
        """
        Say where this task waits, and for what.
        """
        return describe_waiting(self, getattr(self, "_fut_waiter", None))


class SimFuture(asyncio.Future[T]):
    """
    A future that is hashed by a number, like a task.
    """

    _loop: "JumpingLoop"
    _number: int | None = None

    def __hash__(self) -> int:
        if self._number is None:
            self._number = self._loop.next_number()
        return self._number


class _Generators(weakref.WeakKeyDictionary[AsyncGenerator[Any, Any], Life]):
    """
    The asynchronous generators that are under way, oldest first, and whose they are.

    Stands where asyncio expects a set, in which they would be ordered by address.
    """

    def add(self, generator: AsyncGenerator[Any, Any]) -> None:
        """
        Keep a generator that is begun.
        """
        self[generator] = current_life()

    def discard(self, generator: AsyncGenerator[Any, Any]) -> None:
        """
        Forget a generator that has ended.
        """
        self.pop(generator, None)


class JumpingLoop(asyncio.BaseEventLoop):
    """
    An event loop without descriptors, whose time moves when nothing can run.

    Args:
        steps_max: How often the loop may go round.

    Attributes:
        steps: How often it went round.
    """

    # Declared by asyncio without types.
    _ready: collections.deque[asyncio.Handle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, *, steps_max: int) -> None:
        super().__init__()
        self.steps = 0
        self._steps_max = steps_max
        self._now_s = START_S
        # Where asyncio keeps timers alone. Tuples are compared without a call, and the
        # number lets timers for the same time come in the order they were set.
        self._scheduled: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self._task_numbers = itertools.count(1)
        self._numbers = itertools.count(1)
        self._asyncgens = _Generators()
        self._has_dead = False
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """
        Return the simulation's seconds.
        """
        return self._now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """
        Set a timer; timers for the same time come in the order they were set.
        """
        self._check_closed()  # type: ignore[attr-defined]
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if self._has_dead and not _is_alive(timer):
            _keep_for_ever((callback, args))
            timer.cancel()
            return timer
        heapq.heappush(self._scheduled, (when, next(self._timer_numbers), timer))
        # So that asyncio counts its cancellation.
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def next_task_number(self) -> int:
        """
        Return the number of the next task.
        """
        return next(self._task_numbers)

    def next_number(self) -> int:
        """
        Return a number for something that would else be hashed by its address.
        """
        return next(self._numbers)

    def create_future(self) -> asyncio.Future[Any]:
        """
        Make a future that a set keeps in a place of its own choosing.
        """
        return SimFuture(loop=self)

    def make_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str,
        context: contextvars.Context,
    ) -> SimTask[T]:
        """
        Make a task in a context of its own; whoever calls this owns it.
        """
        task = self._make_task(self, coro, context)
        task.set_name(name)
        return task

    def waiting(self) -> list[str]:
        """
        Say of every unfinished task where it waits, oldest first.
        """
        return [task.describe() for task in self._tasks()]

    def tasks_of(self, life: Life) -> list[str]:
        """
        Return the names of a life's unfinished tasks, oldest first.
        """
        return [task.get_name() for task in self._tasks() if task.life is life]

    def bury(self, life: Life) -> None:
        """
        Let nothing of a dead host run again: no callback, no task, no ``finally``.
        """
        self._has_dead = True
        for task in self._tasks():
            if task.life is life:
                _bury_task(task)
        for generator, owner in list(self._asyncgens.items()):
            if owner is life:
                _keep_for_ever(generator)
                # For the same reason: closing one runs what is left of it.
                self._asyncgens.discard(generator)
        for handle in [*self._ready, *(timer for *_, timer in self._scheduled)]:
            _silence(handle)

    def _tasks(self) -> list[SimTask[Any]]:
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, SimTask)]
        return sorted(tasks, key=lambda task: task.number)

    def _make_task(
        self,
        _loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> SimTask[T]:
        task: SimTask[T] = SimTask(coro, loop=self, context=context, **options)  # type: ignore[arg-type]
        if self._has_dead and not task.life.is_alive:
            # The last step of a program whose power failed meanwhile.
            _bury_task(task)
        return task

    def _run_once(self) -> None:
        """
        Go round once: let time move if nothing can run, then run what can.

        Does what asyncio does in its place, less the asking of a selector.
        """
        self.steps += 1
        if self.steps > self._steps_max:
            self._refuse_step()
        timers, ready = self._scheduled, self._ready
        if self._timer_cancelled_count:
            self._forget_cancelled()
        if self._has_dead:
            for handle in ready:
                _silence(handle)
        if not ready and not self._stopping:
            if not timers:
                raise DeadlockError(time_s=self._now_s, waiting=self.waiting())
            self._now_s = max(self._now_s, timers[0][0])
        due_s = self._now_s + _RESOLUTION_S
        while timers and timers[0][0] < due_s:
            *_, timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        # What these set off runs in the next round.
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _refuse_step(self) -> None:
        self._steps_max = self.steps + _STEPS_TO_CLEAN_UP
        raise StepLimitError(
            steps_max=self.steps - 1, time_s=self._now_s, waiting=self.waiting()
        )

    def _forget_cancelled(self) -> None:
        timers = self._scheduled
        if self._timer_cancelled_count > max(_CANCELLED_KEPT, len(timers) // 2):
            timers[:] = [entry for entry in timers if not entry[2].cancelled()]
            heapq.heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1


def _is_alive(handle: asyncio.Handle) -> bool:
    # asyncio keeps it without a type.
    context: contextvars.Context = handle._context  # type: ignore[attr-defined]
    return life_of(context).is_alive


def _silence(handle: asyncio.Handle) -> None:
    if not handle.cancelled() and not _is_alive(handle):
        _keep_for_ever((handle._callback, handle._args))  # type: ignore[attr-defined]
        handle.cancel()


def _bury_task(task: SimTask[Any]) -> None:
    _keep_for_ever(task)
    # So that whoever closes the loop does not wait for it.
    asyncio._unregister_task(task)


def _keep_for_ever(thing: object) -> None:
    # A coroutine that is freed is closed, and closing it runs its ``finally``
    # blocks, at exit if not before. A host without power does not tidy up, so what
    # it held is never freed; the price is its memory, once per crash.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
