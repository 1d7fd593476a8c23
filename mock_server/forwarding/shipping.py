"""
Plans that another process carries out.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, assert_never

from aiohttp import web

from mock_server.forwarding.frames import Shipped, Wrote
from mock_server.forwarding.request import Forwarded
from mock_server.wire import (
    Chunk,
    Close,
    CutAfter,
    End,
    EndIf,
    Hang,
    Head,
    Pace,
    Plan,
    Repeat,
    Reset,
    Step,
    Wait,
)
from mock_server.writer import KEPT, LAST, Outcome, Written

DelayOf = Callable[[Pace, int], float]
_HEAD, _CHUNK, _PACED, _WAIT, _REPEAT, _END, _CLOSE, _RESET, _HANG, _CUT_AFTER = range(
    10
)
_BARE: Final[dict[type[Step], int]] = {
    End: _END,
    Close: _CLOSE,
    Reset: _RESET,
    Hang: _HANG,
}


def is_shippable(plan: Plan) -> bool:
    """
    Say whether a plan needs nothing that only this process knows.
    """
    return not any(type(step) is EndIf for step in plan)


class ShippingWriter:
    """
    Has one plan carried out elsewhere; otherwise like the writer that does it here.

    Args:
        request: Whose connection it is.
        delay_of: How long a chunk of that pace waits, by its number; None: not at all.
        is_timed: The header that tells the time it took is to be added.
    """

    def __init__(
        self, request: Forwarded, *, delay_of: DelayOf | None, is_timed: bool
    ) -> None:
        self._request = request
        self._delay_of = delay_of
        self._is_timed = is_timed
        self._headers: tuple[tuple[str, str], ...] = ()
        self._done: asyncio.Future[None] | None = None
        self.written = Written()

    async def write(self, plan: Plan) -> web.StreamResponse:
        """
        Have the plan written and return what aiohttp is to be given.

        Raises:
            asyncio.CancelledError: The mock is being stopped.
        """
        request = self._request
        self._headers = next((s.headers for s in plan if isinstance(s, Head)), ())
        self._done = asyncio.get_running_loop().create_future()
        request.shipment = self
        request.send(self._pack(plan))
        await self._done
        is_complete = self.written.outcome is Outcome.COMPLETE
        return KEPT if is_complete and request.keep_alive else LAST

    def end(self, wrote: Wrote) -> None:
        """
        Learn how it ended.
        """
        written = self.written
        written.status = wrote.status
        if wrote.status is not None:
            written.headers = self._headers
        written.outcome = Outcome(wrote.outcome)
        written.planned_s = wrote.planned_s
        written.body = wrote.body
        written.body_bytes = wrote.body_bytes
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _pack(self, plan: Plan) -> Shipped:
        steps: list[tuple[object, ...]] = []
        delays_s: list[float] = []
        for step in plan:
            if (
                self._delay_of is not None
                and isinstance(step, Chunk)
                and step.pace is not Pace.NONE
            ):
                delays_s.append(self._delay_of(step.pace, len(delays_s)))
                steps.append((_PACED, step.data))
            else:
                steps.append(_packed(step))
        return Shipped(self._request.number, steps, delays_s, self._is_timed)


def _packed(step: Step) -> tuple[object, ...]:
    match step:
        case Head(status=status, headers=headers):
            return (_HEAD, status, headers)
        case Chunk(data=data):
            return (_CHUNK, data)
        case Wait(delay_s=delay_s):
            return (_WAIT, delay_s)
        case Repeat(data=data, interval_s=interval_s):
            return (_REPEAT, data, interval_s)
        case CutAfter(delay_s=delay_s, cut=cut):
            return (_CUT_AFTER, delay_s, isinstance(cut, Reset))
        case End() | Close() | Reset() | Hang():
            return (_BARE[type(step)],)
        case EndIf():
            message = "a plan that asks on its way is not shipped"
            raise ValueError(message)
        case _:
            assert_never(step)


def unpack_plan(shipped: Shipped) -> Plan:
    """
    Return the plan that was shipped; every chunk with a delay has the same pace.
    """
    return tuple(_unpacked(*step) for step in shipped.steps)


def _unpacked(kind: Any, *values: Any) -> Step:  # noqa: PLR0911 - a kind each
    match kind:
        case 0:
            return Head(values[0], tuple((name, value) for name, value in values[1]))
        case 1:
            return Chunk(values[0])
        case 2:
            return Chunk(values[0], Pace.TOKEN)
        case 3:
            return Wait(values[0])
        case 4:
            return Repeat(values[0], values[1])
        case 5:
            return End()
        case 6:
            return Close()
        case 7:
            return Reset()
        case 8:
            return Hang()
        case _:
            return CutAfter(values[0], Reset() if values[1] else Close())
