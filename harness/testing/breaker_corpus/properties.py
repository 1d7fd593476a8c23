"""
Sixteen properties of a circuit breaker, each a test of whatever has an adapter.

A property that a breaker cannot have, because what it is about is not there, is not
offered; that is not the same as broken.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from harness.testing.breaker_corpus.adapter import not_offered
from harness.testing.breaker_corpus.trial import HeldCall, Trial

Property = Callable[[Trial], Awaitable[None]]

CROWD: Final = 50
INTERLEAVINGS: Final = 10_000

_HOUR_S: Final = 3600.0
_JUST_BEFORE_S: Final = 0.1
_LATE_S: Final = 20.0
_REPEATS: Final = 10


async def _still_counts_to_the_threshold(trial: Trial, outcome: str) -> None:
    await trial.many("failure", 4)
    await trial.many(outcome, 1 if outcome == "cancel" else _REPEATS)
    trial.require(trial.breaker.state == "closed", "the circuit opens for it")
    await trial.one("failure")
    trial.require(trial.breaker.state == "open", "it ends the run of failures")


async def cancelled_call(trial: Trial) -> None:
    """
    A cancelled call is neutral when closed.
    """
    await _still_counts_to_the_threshold(trial, "cancel")


async def ignored_error(trial: Trial) -> None:
    """
    An ignored error is neutral when closed.
    """
    await _still_counts_to_the_threshold(trial, "ignored")


async def crowd_of_probes(trial: Trial) -> None:
    """
    Fifty calls at once at a half-open circuit: only so many probes are admitted.
    """
    await trial.half_open()
    calls = [await trial.begin() for _ in range(CROWD)]
    admitted = sum(call.is_admitted for call in calls)
    wanted = trial.breaker.probes_max
    trial.require(admitted == wanted, f"{admitted} of {CROWD} are let through")


async def _leaves_no_trace(trial: Trial, outcome: str) -> None:
    await trial.half_open()
    for number in range(_REPEATS):
        call = await trial.begin()
        trial.require(call.is_admitted, f"no slot is free after {number}")
        await trial.end(call, outcome)
        state = trial.breaker.state
        trial.require(state == "half_open", f"the circuit is {state} after it")


async def cancelled_probe(trial: Trial) -> None:
    """
    A cancelled probe is neutral.
    """
    await _leaves_no_trace(trial, "cancel")


async def ignored_probe(trial: Trial) -> None:
    """
    An ignored probe is neutral.
    """
    await _leaves_no_trace(trial, "ignored")


async def late_success(trial: Trial) -> None:
    """
    A late success while open is ignored.
    """
    late = await trial.begin()
    await trial.trip()
    await trial.end(late, "success")
    trial.require(trial.breaker.state == "open", "it closes the circuit")
    trial.require(not (await trial.begin()).is_admitted, "calls are let through")


async def late_failure(trial: Trial) -> None:
    """
    A late failure does not extend the break.
    """
    late = await trial.begin()
    await trial.trip()
    await trial.pass_time(_LATE_S)
    await trial.end(late, "failure")
    await trial.pass_time(trial.settings.break_duration_s - _LATE_S + _JUST_BEFORE_S)
    trial.require((await trial.begin()).is_admitted, "the break is longer for it")


async def stale_probe(trial: Trial) -> None:
    """
    A probe of an older half-open period is ignored.
    """
    await trial.half_open()
    stale = await trial.begin()
    other = await trial.begin()
    if not other.is_admitted:
        not_offered("two probes at a time")
    await trial.end(other, "failure")
    for _ in range(trial.settings.probes_max):
        # One that judges a whole round of probes needs the others, too.
        if trial.breaker.state == "half_open":
            await trial.one("failure")
    if trial.breaker.state != "open":
        not_offered("a decision while a probe is under way")
    await trial.pass_time(trial.settings.break_duration_s + _JUST_BEFORE_S)
    held = [await trial.begin() for _ in range(trial.settings.probes_max)]
    trial.require(all(call.is_admitted for call in held), "it holds its old slot")
    await trial.end(stale, "failure")
    state = trial.breaker.state
    trial.require(state == "half_open", f"the circuit is {state} after it")


async def _decides_nothing(trial: Trial, outcome: str) -> None:
    late = [await trial.begin() for _ in range(trial.settings.successes_to_close)]
    await trial.half_open()
    probe = await trial.begin()
    trial.require(probe.is_admitted, "there is no probe after the break")
    for call in late:
        await trial.end(call, outcome)
        state = trial.breaker.state
        trial.require(state == "half_open", f"the circuit is {state} after it")


async def late_failure_when_half_open(trial: Trial) -> None:
    """
    A call from before the trip that fails when half-open is ignored.
    """
    await _decides_nothing(trial, "failure")


async def late_success_when_half_open(trial: Trial) -> None:
    """
    A call from before the trip that succeeds when half-open is ignored.
    """
    await _decides_nothing(trial, "success")


async def wall_clock(trial: Trial) -> None:
    """
    A wall clock that is set by an hour is harmless.
    """
    for step_s in (_HOUR_S, -_HOUR_S):
        await trial.trip()
        trial.step_wall_clock(step_s)
        await trial.pass_time(trial.settings.break_duration_s - _JUST_BEFORE_S)
        early = await trial.one("success")
        trial.require(not early.is_admitted, f"{step_s:+.0f} s shorten the break")
        await trial.pass_time(2 * _JUST_BEFORE_S)
        due = await trial.one("success")
        trial.require(due.is_admitted, f"{step_s:+.0f} s lengthen the break")
        await trial.many("success", trial.breaker.successes_to_close - 1)
        trial.require(trial.breaker.state == "closed", "it does not close")


async def hung_probe(trial: Trial) -> None:
    """
    A circuit whose probes hang for ever recovers.
    """
    await trial.half_open()
    for _ in range(trial.settings.probes_max):
        await trial.begin()
    await trial.pass_time(_HOUR_S)
    await trial.many("success", trial.breaker.successes_to_close)
    trial.require(trial.breaker.state == "closed", "it is stuck for ever")


async def remaining_time(trial: Trial) -> None:
    """
    A rejection carries the remaining time.
    """
    await trial.trip()
    await trial.pass_time(12)
    refused = await trial.begin()
    if refused.refusal is None:
        trial.require(holds=False, otherwise="the call is let through")
        return
    said_s = trial.breaker.remaining_s(refused.refusal)
    left_s = trial.settings.break_duration_s - 12
    is_said = said_s is not None and abs(said_s - left_s) <= _JUST_BEFORE_S
    trial.require(is_said, f"it says {said_s} where {left_s:g} s are left")


async def successes_from_zero(trial: Trial) -> None:
    """
    Successes are counted from zero on every half-open.
    """
    needed = trial.breaker.successes_to_close
    if needed == 1:
        not_offered("a number of successes")
    await trial.half_open()
    await trial.many("success", needed - 1)
    await trial.one("failure")
    trial.require(trial.breaker.state == "open", "a failed probe does not reopen it")
    await trial.pass_time(trial.settings.break_duration_s + _JUST_BEFORE_S)
    await trial.many("success", needed - 1)
    trial.require(trial.breaker.state == "half_open", "old successes count")
    await trial.one("success")
    trial.require(trial.breaker.state == "closed", "it does not close")


async def listener_that_raises(trial: Trial) -> None:
    """
    A listener that raises harms nobody.
    """
    heard = 0

    def listener() -> None:
        nonlocal heard
        heard += 1
        raise RuntimeError

    trial.breaker.listen(listener)
    for outcome in ["failure"] * 5:
        call = await trial.one(outcome)
        trial.require(
            not isinstance(call.error, RuntimeError), "its error reaches the caller"
        )
    trial.require(trial.breaker.state == "open", "the circuit does not open")
    await trial.pass_time(trial.settings.break_duration_s + _JUST_BEFORE_S)
    for _ in range(trial.breaker.successes_to_close):
        call = await trial.one("success")
        trial.require(call.error is None, "its error reaches the caller")
    trial.require(trial.breaker.state == "closed", "the circuit does not close")
    trial.require(heard > 0, "it is not told")


class _Storm:
    """
    Calls that begin and end in a random order, with what must hold all the time.
    """

    def __init__(self, trial: Trial, draws: random.Random) -> None:
        self.trial = trial
        self.draws = draws
        self.under_way: list[HeldCall] = []
        self.probes: list[HeldCall] = []
        self.changes = 0

    async def step(self) -> None:
        """
        Begin a call, end one, or let time go by.
        """
        match self.draws.randrange(8):
            case 0 | 1 | 2:
                call = await self.trial.begin()
                self.trial.require(call.made <= 1, "a call is made twice")
                if call.is_admitted:
                    self.under_way.append(call)
                    self._note_probe(call)
                else:
                    self.trial.held.remove(call)
            case 3 | 4 | 5 | 6 if self.under_way:
                index = self.draws.randrange(len(self.under_way))
                call = self.under_way.pop(index)
                await self.trial.end(
                    call, self.draws.choice(["success", "failure", "cancel"])
                )
            case _:
                await self.trial.pass_time(self.draws.choice([0.1, 1.0, 3.0]))
        if self.trial.breaker.state != "half_open":
            self.probes.clear()
        self.probes = [call for call in self.probes if call in self.under_way]

    def _note_probe(self, call: HeldCall) -> None:
        if self.trial.breaker.state != "half_open":
            return
        self.probes.append(call)
        allowed = self.trial.breaker.probes_max
        count = len(self.probes)
        self.trial.require(
            allowed is None or count <= allowed, f"there are {count} probes at a time"
        )

    async def calm_down(self) -> None:
        """
        End everything and see whether the circuit works again.
        """
        for call in self.under_way:
            await self.trial.end(call, "success")
        await self.trial.pass_time(_HOUR_S)
        await self.trial.many("success", 3 * self.trial.breaker.successes_to_close)
        self.trial.require(self.trial.breaker.state == "closed", "slots are lost")


async def conservation(trial: Trial) -> None:
    """
    Over 10,000 random steps no call is admitted twice, and no slot is lost.
    """
    storm = _Storm(trial, random.Random(20))  # noqa: S311 - the same storm each time
    for _ in range(INTERLEAVINGS):
        await storm.step()
    await storm.calm_down()


PROPERTIES: Final[Mapping[str, Property]] = {
    "cancelled call is neutral when closed": cancelled_call,
    "ignored error is neutral when closed": ignored_error,
    "50 calls at half-open: as many probes as allowed": crowd_of_probes,
    "cancelled probe is neutral": cancelled_probe,
    "ignored probe is neutral": ignored_probe,
    "late success while open is ignored": late_success,
    "late failure does not extend the break": late_failure,
    "stale probe of an older half-open is ignored": stale_probe,
    "pre-trip call failing in half-open is ignored": late_failure_when_half_open,
    "pre-trip call succeeding in half-open is ignored": late_success_when_half_open,
    "wall clock ±1 h is harmless": wall_clock,
    "a hung probe recovers": hung_probe,
    "a rejection carries the remaining time": remaining_time,
    "successes start at zero on every half-open": successes_from_zero,
    "a listener that raises harms nobody": listener_that_raises,
    "admission conserves slots over 10,000 steps": conservation,
}
"""The sixteen, in the order of the table."""
