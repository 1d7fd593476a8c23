"""
How a store behaves, in one place.
"""

from dataclasses import dataclass

from harness.errors import check_options
from harness.stores.group_commit import (
    BATCH_LINGER_S,
    BATCH_OPERATIONS_MAX,
    QUEUE_OPERATIONS_MAX,
)
from harness.stores.schema import Durability

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """
    What a store promises, how long it keeps things, and its limits.
    """

    durability: Durability = Durability.POWER_LOSS
    """What a commit survives."""

    result_keep_s: float = 3600.0
    """How long an ended call or chat is kept after its delivery ended."""

    dedupe_keep_s: float = 7 * _DAY_S
    """How long ids and dedupe keys are remembered: longer than any retry schedule."""

    dead_letter_keep_s: float = 30 * _DAY_S
    """How long a dead letter may still be redelivered."""

    session_keep_s: float = 7 * _DAY_S
    """How long a conversation is kept after its last chat."""

    idempotency_keep_s: float = _DAY_S
    """How long the answer to an idempotency key is kept."""

    crashes_max: int = 5
    """A delivery whose attempts were cut off so often in a row is a dead letter."""

    recovery_spread_s: float = 5.0
    """Over how long deliveries of dead owners are spread at the start."""

    busy_timeout_s: float = 1.0
    """How long a commit waits while another program holds the file."""

    sweep_rows_max: int = 1000
    """How many rows of a kind one sweep ends or forgets."""

    forget_interval_s: float = 60.0
    """How often at most a sweep looks for rows to forget, unless it left some."""

    queue_operations_max: int = QUEUE_OPERATIONS_MAX
    """More operations that wait for the writer are refused."""

    batch_operations_max: int = BATCH_OPERATIONS_MAX
    """At most so many operations share a commit."""

    batch_linger_s: float = BATCH_LINGER_S
    """At most so long a commit waits for company."""

    def __post_init__(self) -> None:
        check_options(
            self,
            result_keep_s=self.result_keep_s >= 0,
            dedupe_keep_s=self.dedupe_keep_s > 0,
            dead_letter_keep_s=self.dead_letter_keep_s > 0,
            session_keep_s=self.session_keep_s > 0,
            idempotency_keep_s=self.idempotency_keep_s > 0,
            crashes_max=self.crashes_max >= 1,
            recovery_spread_s=self.recovery_spread_s >= 0,
            busy_timeout_s=self.busy_timeout_s >= 0,
            sweep_rows_max=self.sweep_rows_max >= 1,
            forget_interval_s=self.forget_interval_s >= 0,
            queue_operations_max=self.queue_operations_max >= 1,
            batch_operations_max=self.batch_operations_max >= 1,
            batch_linger_s=self.batch_linger_s >= 0,
        )
