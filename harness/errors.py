"""
Every error that this package raises on purpose.

The leaf says what happened to the caller; facts are attributes, not only text::

    HarnessError
    ├── UsageError                  what the caller gave cannot be used
    │   ├── OptionsError            options that make no sense, all of them at once
    │   ├── TransitionError         a circuit cannot go from where it is to where it is sent
    │   ├── IdempotencyConflictError  the key was used with another body
    │   └── IdempotencyRunningError   the request with this key is still running
    ├── RejectedError               we refused; nothing was attempted
    │   ├── CircuitOpenError
    │   ├── RateLimitedError
    │   ├── BulkheadFullError
    │   ├── OverloadedError
    │   └── StoppingError           the service is about to end
    ├── DeadlineExceededError       the time for the whole call is over
    ├── LimitExceededError          a limit with a name was reached
    ├── UpstreamError               the model API failed
    │   ├── UpstreamStatusError     it answered with an error status
    │   ├── UpstreamConnectionError no answer, or one that broke off
    │   ├── UpstreamProtocolError   an answer that is not what the contract says
    │   └── AttemptTimeoutError     no full answer within the attempt timeout
    ├── ToolError                   a tool call cannot be answered with a result
    │   ├── UnknownToolError
    │   ├── InvalidArgumentsError
    │   ├── ToolFailedError
    │   └── ToolTimeoutError        a deferred tool was not resolved in time
    ├── WebhookError
    │   ├── SignatureError          nothing proves who sent it
    │   │   └── TimestampError      signed, but outside the tolerance
    │   ├── PayloadError            authentic, but not what the contract says
    │   └── EgressDeniedError       the address is not allowed to be dialled
    ├── StoreError
    │   ├── StoreUnavailableError   nothing was committed; try again later
    │   ├── StoreLockedError        another process writes to this store
    │   └── StoreDamagedError       the file is damaged, or not one of our stores
    ├── BenchError                  the run says nothing about the service
    │   ├── SubjectError            the service under test or the mock did not start or died
    │   └── EventLossError          the event log is incomplete
    └── SimulationError             the simulation cannot go on truthfully
        ├── DeadlockError           nothing can ever happen again
        ├── StepLimitError          it goes on for longer than it may
        └── EscapeError             something real was asked for
"""

from collections.abc import Sequence


class HarnessError(Exception):
    """
    Base of every error raised on purpose.
    """


class UsageError(HarnessError):
    """
    What the caller gave cannot be used; trying again will not help.
    """


class OptionsError(UsageError):
    """
    Options that make no sense, all mistakes at once.

    Attributes:
        owner: Name of the options class.
        fields: The names of the settings that were refused, with their values.
    """

    def __init__(self, *, owner: str, fields: dict[str, object]) -> None:
        listed = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        super().__init__(f"{owner} refuses {listed}")
        self.owner = owner
        self.fields = fields


def check_options(options: object, **holds: bool) -> None:
    """
    Refuse an options object if any named condition does not hold.

    Args:
        options: The object under construction; values are read from it by name.
        holds: For each setting, whether its value makes sense.

    Raises:
        OptionsError: At least one condition is false; it names all of them.
    """
    wrong = {
        name: getattr(options, name, None)
        for name, is_fine in holds.items()
        if not is_fine
    }
    if wrong:
        raise OptionsError(owner=type(options).__name__, fields=wrong)


class TransitionError(UsageError):
    """
    A circuit cannot go from where it is to where it is sent by hand.
    """

    def __init__(self, *, circuit: str, state: str, event: str) -> None:
        super().__init__(f"circuit {circuit!r} is {state}, which allows no {event}")
        self.circuit = circuit
        self.state = state
        self.event = event


class IdempotencyConflictError(UsageError):
    """
    The idempotency key is known with another body.
    """

    def __init__(self, *, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used with another body")
        self.key = key


class IdempotencyRunningError(UsageError):
    """
    The request with this idempotency key is still running.
    """

    def __init__(self, *, key: str) -> None:
        super().__init__(f"the request with idempotency key {key!r} is still running")
        self.key = key


class RejectedError(HarnessError):
    """
    We refused; nothing was attempted.

    Attributes:
        reason: A short word for the cause, one of few.
        retry_after_s: When asking again makes sense, if that is known.
    """

    def __init__(
        self, message: str, *, reason: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class CircuitOpenError(RejectedError):
    """
    The circuit is open; the attempt was not made.
    """

    def __init__(self, *, circuit: str, state: str, retry_after_s: float) -> None:
        # A refusal has to be cheap: the sentence is made when somebody reads it.
        self.reason = "circuit_open"
        self.retry_after_s: float = retry_after_s
        self.circuit = circuit
        self.state = state

    def __str__(self) -> str:
        return (
            f"circuit {self.circuit!r} is {self.state}; "
            f"asking again makes sense in {self.retry_after_s:.1f} s"
        )


class RateLimitedError(RejectedError):
    """
    Our own rate limiter would not grant a permit in time.
    """

    def __init__(self, *, limiter: str, retry_after_s: float) -> None:
        super().__init__(
            f"rate limiter {limiter!r} has no permit before {retry_after_s:.2f} s",
            reason="rate_limited",
            retry_after_s=retry_after_s,
        )
        self.limiter = limiter


class BulkheadFullError(RejectedError):
    """
    As many operations as allowed are running and waiting.
    """

    def __init__(self, *, bulkhead: str, permits_max: int, waiting_max: int) -> None:
        super().__init__(
            f"bulkhead {bulkhead!r} is full: {permits_max} running, {waiting_max} waiting",
            reason="bulkhead_full",
        )
        self.bulkhead = bulkhead
        self.permits_max = permits_max
        self.waiting_max = waiting_max


class OverloadedError(RejectedError):
    """
    The service has as much work as it takes on.
    """

    def __init__(self, *, limit: str, value: int, retry_after_s: float = 1.0) -> None:
        super().__init__(
            f"{limit} is {value}, and that many are under way",
            reason="overloaded",
            retry_after_s=retry_after_s,
        )
        self.limit = limit
        self.value = value


class StoppingError(RejectedError):
    """
    The service is about to end and takes nothing on; its successor will.
    """

    def __init__(self) -> None:
        super().__init__(
            "the service is stopping", reason="stopping", retry_after_s=1.0
        )


class DeadlineExceededError(HarnessError):
    """
    The time for the whole call is over, or what is left cannot be enough.

    Attributes:
        deadline_in_s: Seconds that were left when this was decided; negative if past.
        needed_s: Seconds that the next step asked for, if it was refused for that.
    """

    def __init__(self, *, deadline_in_s: float, needed_s: float | None = None) -> None:
        need = (
            "" if needed_s is None else f", and the next step asks for {needed_s:.2f} s"
        )
        super().__init__(
            f"{max(deadline_in_s, 0.0):.2f} s are left for this call{need}"
        )
        self.deadline_in_s = deadline_in_s
        self.needed_s = needed_s


class LimitExceededError(HarnessError):
    """
    A limit with a name was reached.
    """

    def __init__(self, *, limit: str, value: float) -> None:
        super().__init__(f"{limit} is {value:g}, and that was reached")
        self.limit = limit
        self.value = value


class UpstreamError(HarnessError):
    """
    The model API failed.
    """


class UpstreamStatusError(UpstreamError):
    """
    The model API answered with an error status.

    Attributes:
        status: The HTTP status, or 200 for an error inside a stream.
        code: ``error.code`` of the body, if it had one.
        retry_after_s: The wait that was asked for, unclamped; None if none was usable.
        should_retry: What ``x-should-retry`` said, if it was there.
        request_id: ``x-request-id`` of the answer.
    """

    def __init__(
        self,
        *,
        status: int,
        error_type: str | None = None,
        code: str | None = None,
        message: str = "",
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        request_id: str | None = None,
    ) -> None:
        what = code or error_type or "no code"
        super().__init__(f"upstream answered {status} ({what}): {message}"[:500])
        self.status = status
        self.error_type = error_type
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.request_id = request_id


class UpstreamConnectionError(UpstreamError):
    """
    The model API gave no answer, or one that broke off.

    Attributes:
        reason: ``refused``, ``reset``, ``closed``, ``tls``, ``dns`` or ``other``.
    """

    def __init__(self, *, reason: str, detail: str = "") -> None:
        super().__init__(
            f"upstream connection {reason}{': ' if detail else ''}{detail}"
        )
        self.reason = reason


class UpstreamProtocolError(UpstreamError):
    """
    The model API answered, but not with what the contract says.

    Attributes:
        reason: What was wrong, in a few fixed words.
    """

    def __init__(self, *, reason: str, detail: str = "") -> None:
        super().__init__(
            f"upstream answer is broken: {reason}{': ' if detail else ''}{detail}"
        )
        self.reason = reason


class AttemptTimeoutError(UpstreamError):
    """
    No full answer within the attempt timeout.
    """

    def __init__(self, *, timeout_s: float) -> None:
        super().__init__(f"no full answer within {timeout_s:g} s")
        self.timeout_s = timeout_s


class ToolError(HarnessError):
    """
    A tool call cannot be answered with a result; the model is told why.

    Attributes:
        code: A short word for the cause, sent to the model and in webhooks.
    """

    code = "tool_error"


class UnknownToolError(ToolError):
    """
    No tool is registered under that name.
    """

    code = "unknown_tool"

    def __init__(self, *, tool: str, known: Sequence[str]) -> None:
        super().__init__(
            f"no tool {tool!r}; there are {', '.join(sorted(known)) or 'none'}"
        )
        self.tool = tool
        self.known = tuple(known)


class InvalidArgumentsError(ToolError):
    """
    The arguments are not JSON, or break the tool's JSON Schema.
    """

    code = "invalid_arguments"

    def __init__(self, *, tool: str, mistakes: Sequence[str]) -> None:
        super().__init__(f"arguments of {tool!r}: {'; '.join(mistakes)}"[:1000])
        self.tool = tool
        self.mistakes = tuple(mistakes)


class ToolFailedError(ToolError):
    """
    The tool was run and failed.
    """

    code = "tool_failed"

    def __init__(self, *, tool: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"tool {tool!r} failed: {reason}"[:500])
        self.tool = tool
        self.reason = reason
        self.status = status


class ToolTimeoutError(ToolError):
    """
    A deferred tool was not resolved before its deadline.
    """

    code = "tool_timeout"

    def __init__(self, *, tool: str, timeout_s: float) -> None:
        super().__init__(f"tool {tool!r} gave no result within {timeout_s:g} s")
        self.tool = tool
        self.timeout_s = timeout_s


class WebhookError(HarnessError):
    """
    A webhook cannot be sent or taken.
    """


class SignatureError(WebhookError):
    """
    Nothing proves who sent this message.

    Attributes:
        reason: For the log only; a sender learns no more than 401.
    """

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"webhook signature refused: {reason}")
        self.reason = reason


class TimestampError(SignatureError):
    """
    The timestamp is outside the tolerance.
    """


class PayloadError(WebhookError):
    """
    An authentic message whose body is not what the contract says.
    """


class EgressDeniedError(WebhookError):
    """
    The address is not allowed to be dialled.
    """

    def __init__(self, *, address: str, reason: str) -> None:
        super().__init__(f"{address} is not dialled: {reason}")
        self.address = address
        self.reason = reason


class StoreError(HarnessError):
    """
    The store cannot do what was asked.
    """


class StoreUnavailableError(StoreError):
    """
    Nothing was committed; asking again later may work.
    """

    def __init__(self, *, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"store unavailable: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s


class StoreLockedError(StoreError):
    """
    Another process writes to this store.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__(
            f"{path} is in use by another process; stop it, or give this one another --store"
        )
        self.path = path


class StoreDamagedError(StoreError):
    """
    The file is damaged, or it is not a store of this version.
    """

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be used as a store: {reason}")
        self.path = path
        self.reason = reason


class BenchError(HarnessError):
    """
    The run says nothing about the service under test.
    """


class SubjectError(BenchError):
    """
    The mock or the service under test did not start, or died.

    Attributes:
        last_lines: The end of what it printed.
    """

    def __init__(self, message: str, *, last_lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.last_lines = tuple(last_lines)


class EventLossError(BenchError):
    """
    The event log is incomplete, so nothing can be concluded from it.
    """

    def __init__(self, *, lost_events: int, where: str) -> None:
        super().__init__(f"{lost_events} events were lost by {where}")
        self.lost_events = lost_events
        self.where = where


class SimulationError(HarnessError):
    """
    The simulation cannot go on truthfully.
    """


class DeadlockError(SimulationError):
    """
    Nothing is ready and no timer is set, so nothing can ever happen again.

    Attributes:
        waiting: Who waits for what, one line per task.
    """

    def __init__(self, *, time_s: float, waiting: Sequence[str]) -> None:
        listed = "".join(f"\n  {line}" for line in waiting) or " no task"
        super().__init__(
            f"at {time_s:.6f} s nothing is ready and no timer is set; there waits:{listed}"
        )
        self.time_s = time_s
        self.waiting = tuple(waiting)


class StepLimitError(SimulationError):
    """
    The simulation took more steps than it may.

    Attributes:
        waiting: Who waits for what, one line per task.
    """

    def __init__(
        self, *, steps_max: int, time_s: float, waiting: Sequence[str]
    ) -> None:
        listed = "".join(f"\n  {line}" for line in waiting) or " none"
        super().__init__(
            f"steps_max is {steps_max}, reached at {time_s:.6f} s; tasks:{listed}"
        )
        self.steps_max = steps_max
        self.time_s = time_s
        self.waiting = tuple(waiting)


class EscapeError(SimulationError):
    """
    Something real was asked for, which would make the simulation lie.

    Attributes:
        what: The call that was refused.
    """

    def __init__(self, *, what: str, instead: str) -> None:
        super().__init__(f"{what} is refused in virtual time; {instead}")
        self.what = what
        self.instead = instead
