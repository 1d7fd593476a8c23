"""
One attempt of a call, as the strategies hand it inwards.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from harness.ids import IdMint
from harness.resilience.deadline import Deadline
from harness.resilience.outcome import Classified
from harness.resilience.quota import QuotaLeft

Handler = Callable[["Attempt"], Awaitable[Any]]
"""What makes an attempt: the next strategy inwards, or the call itself."""


class Execution:
    """
    One logical call: what all its attempts share.

    Attributes:
        operation: The name of what is done; one of few.
        call: What the caller wants done.
        attempts: How many attempts were started.
        committed: Whether output reached the caller.
        may_hedge: Whether the call may be made twice at once.
    """

    __slots__ = (
        "_ids",
        "_key",
        "attempts",
        "call",
        "committed",
        "may_hedge",
        "operation",
    )

    def __init__(
        self,
        *,
        operation: str,
        call: Handler,
        ids: IdMint,
        idempotency_key: str | None = None,
        may_hedge: bool = False,
    ) -> None:
        self.operation = operation
        self.call = call
        self.attempts = 0
        self.committed = False
        self.may_hedge = may_hedge
        self._ids = ids
        self._key = idempotency_key

    @property
    def idempotency_key(self) -> str:
        """
        The key of this call, the same on every attempt; minted when first asked for.
        """
        if self._key is None:
            self._key = self._ids.mint("idem")
        return self._key


class Attempt:
    """
    One try of a call.

    Attributes:
        number: Counts the attempts of the call from 1.
        tokens: What it costs at a limit on tokens, beside one request.
        on_start: Called with the attempt when all permits are there and the call is
            about to be made; it may refuse it.
        deadline: When the whole call has to be over.
        timeout_s: How long this attempt may take, known once it is made.
        started_s: When it was made, on the monotonic clock.
        duration_s: How long it took, known once it ended.
        classified: What the attempt told, known once it ended; None if a strategy
            refused it before it was made.
        blocked_s: How long the circuit refuses further calls, if it does so once this
            attempt ended.
        status: The status of the answer, as noted by the call.
        request_id: The peer's name for this attempt, as noted by the call.
        quota: What the peer says is left of its quota, as noted by the call.
        time_to_first_chunk_s: How long the first output took, as noted by the call.
    """

    __slots__ = (
        "blocked_s",
        "classified",
        "deadline",
        "duration_s",
        "execution",
        "number",
        "on_start",
        "quota",
        "request_id",
        "started_s",
        "status",
        "time_to_first_chunk_s",
        "timeout_s",
        "tokens",
    )

    def __init__(
        self,
        execution: Execution,
        *,
        number: int = 1,
        deadline: Deadline | None = None,
        tokens: float = 0.0,
    ) -> None:
        self.execution = execution
        self.number = number
        self.deadline = deadline
        self.tokens = tokens
        self.timeout_s: float | None = None
        self.started_s = 0.0
        self.duration_s = 0.0
        self.classified: Classified | None = None
        # It is given the attempt, which it must not hold: neither would be freed then
        # until somebody looks for garbage.
        self.on_start: Callable[[Attempt], None] | None = None
        self.blocked_s: float | None = None
        self.status: int | None = None
        self.request_id: str | None = None
        self.quota: QuotaLeft | None = None
        self.time_to_first_chunk_s: float | None = None

    @property
    def operation(self) -> str:
        """
        The name of what is done; one of few.
        """
        return self.execution.operation

    @property
    def idempotency_key(self) -> str:
        """
        The key of the call, the same on all its attempts.
        """
        return self.execution.idempotency_key

    @property
    def committed(self) -> bool:
        """
        Whether output of this call reached the caller.
        """
        return self.execution.committed

    def commit(self) -> None:
        """
        Say that output reaches the caller: the call is not retried from here on.
        """
        self.execution.committed = True

    def note(
        self,
        *,
        status: int | None = None,
        request_id: str | None = None,
        quota: QuotaLeft | None = None,
        time_to_first_chunk_s: float | None = None,
    ) -> None:
        """
        Keep facts about the answer, for events and limits; None changes nothing.
        """
        if status is not None:
            self.status = status
        if request_id is not None:
            self.request_id = request_id
        if quota is not None:
            self.quota = quota
        if time_to_first_chunk_s is not None:
            self.time_to_first_chunk_s = time_to_first_chunk_s

    def another(self) -> "Attempt":
        """
        Return a fresh attempt of the same call.
        """
        return Attempt(
            self.execution,
            number=self.execution.attempts + 1,
            deadline=self.deadline,
            tokens=self.tokens,
        )
