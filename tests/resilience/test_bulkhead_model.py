"""
The bulkhead against a naive room with a queue, over scripts that hypothesis makes up.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import BulkheadFullError
from harness.resilience import Bulkhead, BulkheadOptions
from harness.testing import SimLoop

PERMITS_MAX, WAITING_MAX, WAIT_MAX_S = 2, 3, 4.0


@dataclass(frozen=True)
class Enter:
    """
    A call comes and stays inside for so long.
    """

    stay_s: float


@dataclass(frozen=True)
class Cancel:
    """
    One of the calls goes away, wherever it is.
    """

    number: int


@dataclass(frozen=True)
class Resize:
    """
    The number of permits is changed.
    """

    permits_max: int


Op = Enter | Cancel | Resize
Fates = dict[int, str]


@dataclass
class Room:
    """
    Who is inside until when, and who waits until when.
    """

    permits_max: int = PERMITS_MAX
    inside: dict[int, float] = field(default_factory=dict)
    queue: list[tuple[int, float, float]] = field(default_factory=list)
    fates: Fates = field(default_factory=dict)

    def run_until(self, end_s: float) -> None:
        """
        Let everything happen that is due, in order.
        """
        while True:
            leaving = [(until_s, "left", key) for key, until_s in self.inside.items()]
            late = [(latest_s, "refused", key) for key, _, latest_s in self.queue]
            due = sorted(event for event in leaving + late if event[0] <= end_s)
            if not due:
                return
            now_s, what, key = due[0]
            self.remove(key, what, now_s)

    def enter(self, key: int, stay_s: float, now_s: float) -> None:
        """
        Let a call in, or queue it, or refuse it.
        """
        if len(self.inside) < self.permits_max and not self.queue:
            self.inside[key] = now_s + stay_s
        elif len(self.queue) < WAITING_MAX:
            self.queue.append((key, stay_s, now_s + WAIT_MAX_S))
        else:
            self.fates[key] = "refused"

    def remove(self, key: int, what: str, now_s: float) -> None:
        """
        Take a call out, from wherever it is, and let the next one in.
        """
        if key in self.fates:
            return
        self.inside.pop(key, None)
        self.queue = [waiting for waiting in self.queue if waiting[0] != key]
        self.fates[key] = what
        self.let_in(now_s)

    def let_in(self, now_s: float) -> None:
        """
        Let in whoever there is room for, in order.
        """
        while self.queue and len(self.inside) < self.permits_max:
            first, stay_s, _latest_s = self.queue.pop(0)
            self.inside[first] = now_s + stay_s


async def play(script: Sequence[tuple[float, Op]]) -> tuple[Fates, Fates]:
    """
    Play a script to both, and return what became of each call.
    """
    clock = LoopClock(0.0)
    bulkhead = Bulkhead(
        "upstream",
        options=BulkheadOptions(
            permits_max=PERMITS_MAX, waiting_max=WAITING_MAX, wait_max_s=WAIT_MAX_S
        ),
        clock=clock,
        bus=EventBus(clock=clock),
    )
    room, fates = Room(), Fates()
    calls: dict[int, asyncio.Task[None]] = {}

    async def call(key: int, stay_s: float) -> None:
        try:
            async with bulkhead.permit():
                await clock.sleep(stay_s)
        except BulkheadFullError:
            fates[key] = "refused"
        except asyncio.CancelledError:
            fates[key] = "cancelled"
            raise
        else:
            fates[key] = "left"

    async with asyncio.TaskGroup() as tasks:
        for number, (delay_s, op) in enumerate(script):
            await clock.sleep(delay_s)
            now_s = clock.monotonic()
            room.run_until(now_s)
            match op:
                case Enter(stay_s=stay_s):
                    calls[number] = tasks.create_task(call(number, stay_s))
                    room.enter(number, stay_s, now_s)
                case Cancel(number=target) if target in calls:
                    calls[target].cancel()
                    room.remove(target, "cancelled", now_s)
                case Resize(permits_max=permits_max):
                    bulkhead.change(permits_max=permits_max)
                    room.permits_max = permits_max
                    room.let_in(now_s)
                case _:
                    pass
            for _ in range(5):
                await clock.sleep(0)
            assert bulkhead.in_use == len(room.inside)
            assert bulkhead.waiting == len(room.queue)
    room.run_until(float("inf"))
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)
    return fates, room.fates


# No two things happen at the same moment, so that both agree on their order.
DELAYS = st.integers(0, 20).map(lambda tenths: tenths / 10 + 0.001371)
OPS = st.one_of(
    st.builds(Enter, stay_s=st.sampled_from([0.50003, 2.00007, 7.00011])),
    st.builds(Enter, stay_s=st.sampled_from([2.00007, 7.00011])),
    st.builds(Cancel, number=st.integers(0, 20)),
    st.builds(Resize, permits_max=st.integers(1, 4)),
)


@given(script=st.lists(st.tuples(DELAYS, OPS), max_size=30), seed=st.integers(0, 9))
@settings(max_examples=120, deadline=None)
def test_agrees_with_a_naive_room(script: list[tuple[float, Op]], seed: int) -> None:
    """
    Every call gets in, is refused or leaves just as the naive room says.
    """
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed)) as runner:
        actual, expected = runner.run(play(script))

    assert actual == expected
