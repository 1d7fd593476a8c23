"""
The states of a circuit, and every step between them.

The table is the machine: a step that is not in it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class CircuitState(StrEnum):
    """
    What a circuit does with a call.
    """

    CLOSED = "closed"
    """Lets it through and watches how it ends."""

    OPEN = "open"
    """Refuses it until the break is over."""

    HALF_OPEN = "half_open"
    """Lets a few through as probes."""

    ISOLATED = "isolated"
    """Refuses it until somebody says otherwise."""

    DISABLED = "disabled"
    """Lets it through and does not look."""

    OBSERVING = "observing"
    """Lets it through, and only says when it would have opened."""


class CircuitEvent(StrEnum):
    """
    What makes a circuit change its state.
    """

    TRIPPED = "tripped"
    BREAK_ELAPSED = "break_elapsed"
    PROBES_SUCCEEDED = "probes_succeeded"
    PROBE_FAILED = "probe_failed"

    OPENED_BY_HAND = "opened_by_hand"
    HALF_OPENED_BY_HAND = "half_opened_by_hand"
    CLOSED_BY_HAND = "closed_by_hand"
    ISOLATED_BY_HAND = "isolated_by_hand"
    DISABLED_BY_HAND = "disabled_by_hand"
    OBSERVED_BY_HAND = "observed_by_hand"
    RESET = "reset"


_BY_HAND: Final = {
    CircuitEvent.OPENED_BY_HAND: CircuitState.OPEN,
    CircuitEvent.CLOSED_BY_HAND: CircuitState.CLOSED,
    CircuitEvent.ISOLATED_BY_HAND: CircuitState.ISOLATED,
    CircuitEvent.DISABLED_BY_HAND: CircuitState.DISABLED,
    CircuitEvent.OBSERVED_BY_HAND: CircuitState.OBSERVING,
    CircuitEvent.RESET: CircuitState.CLOSED,
}

TRANSITIONS: Final[Mapping[tuple[CircuitState, CircuitEvent], CircuitState]] = {
    (CircuitState.CLOSED, CircuitEvent.TRIPPED): CircuitState.OPEN,
    (CircuitState.OPEN, CircuitEvent.BREAK_ELAPSED): CircuitState.HALF_OPEN,
    (CircuitState.HALF_OPEN, CircuitEvent.PROBES_SUCCEEDED): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, CircuitEvent.PROBE_FAILED): CircuitState.OPEN,
    (CircuitState.OPEN, CircuitEvent.HALF_OPENED_BY_HAND): CircuitState.HALF_OPEN,
    (CircuitState.HALF_OPEN, CircuitEvent.HALF_OPENED_BY_HAND): CircuitState.HALF_OPEN,
    **{
        (state, event): target
        for state in CircuitState
        for event, target in _BY_HAND.items()
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSnapshot:
    """
    A circuit as it stands at one moment.
    """

    name: str
    state: CircuitState
    since_s: float
    """Wall time at which it came into this state."""

    retry_after_s: float
    """How long it still refuses; 0 unless it is open."""

    failures: int
    """Failures in a row."""

    probes: int
    """Probes under way."""

    successes: int = 0
    """Probes that succeeded since it is half-open."""

    rejections: int = 0
    """Calls refused since it came into this state."""

    generation: int = 0
    samples: int = 0
    """Outcomes in the window."""

    failed_samples: int = 0
    slow_samples: int = 0
