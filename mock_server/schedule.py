"""
The times at which a fault hits: pure functions of its schedule and scenario time.
"""

import math

from mock_server.script import EverySchedule, FaultScript, RampSchedule


def is_due(script: FaultScript, now_s: float) -> bool:
    """
    Say whether a fault hits at this time of the scenario.
    """
    if now_s < script.from_s or (script.to_s is not None and now_s >= script.to_s):
        return False
    return script.every is None or _is_on(script.every, now_s - script.from_s)


def next_change_s(script: FaultScript, now_s: float) -> float:
    """
    Return the next time at which a fault begins or ends; infinity if there is none.
    """
    end_s = math.inf if script.to_s is None else script.to_s
    if now_s < script.from_s:
        return script.from_s
    if now_s >= end_s:
        return math.inf
    if script.every is None:
        return end_s
    period_s = script.every.on_s + script.every.off_s
    waves, into_s = divmod(now_s - script.from_s, period_s)
    start_s = script.from_s + waves * period_s
    is_on = into_s < script.every.on_s
    return min(end_s, start_s + (script.every.on_s if is_on else period_s))


def rate_at(script: FaultScript, now_s: float) -> float:
    """
    Return the share of requests that a fault hits at this time.
    """
    if script.ramp is None:
        return script.injection_rate
    return script.injection_rate * _ramped(script.ramp, now_s - script.from_s)


def _ramped(ramp: RampSchedule, since_s: float) -> float:
    share = min(1.0, max(0.0, since_s / ramp.over_s))
    return ramp.start + share * (ramp.end - ramp.start)


def _is_on(every: EverySchedule, since_s: float) -> bool:
    return since_s % (every.on_s + every.off_s) < every.on_s
