"""
A planted bug: a probe that is cancelled keeps its slot.

Python imports this by itself in every process whose path begins with this folder, so
that the shipped code runs unchanged but for the bug, in workers of an exploration too.
"""

from harness.resilience import Attempt, CircuitBreaker, CircuitPermit, Outcome

_settle_attempt = CircuitBreaker._settle_attempt


def _leak(self: CircuitBreaker, permit: CircuitPermit, attempt: Attempt) -> None:
    classified = attempt.classified
    is_cancelled = classified is None or classified.outcome is Outcome.IGNORED
    if not (permit.is_probe and is_cancelled):
        _settle_attempt(self, permit, attempt)


CircuitBreaker._settle_attempt = _leak  # type: ignore[method-assign]
