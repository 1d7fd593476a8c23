"""
What happened, as frozen facts in the past tense.

An event carries data and no text; text is made where it is shown. Its ``kind`` is
the snake-case name of its class, its fields are what stands in the event log.
``SEVERITIES`` is the one table that says how serious each kind is.
"""

import contextlib
import contextvars
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Final, NamedTuple

from harness.ids import CallbackId, MessageId, ToolCallId, TraceId

_TRACE: contextvars.ContextVar[TraceId | None] = contextvars.ContextVar(
    "harness_trace_id", default=None
)


def current_trace_id() -> TraceId | None:
    """
    Return the trace that the running code works for, if any.
    """
    return _TRACE.get()


@contextlib.contextmanager
def trace_scope(trace_id: TraceId | None) -> Iterator[None]:
    """
    Let everything inside work for this trace.
    """
    token = _TRACE.set(trace_id)
    try:
        yield
    finally:
        _TRACE.reset(token)


class Severity(IntEnum):
    """
    How serious an event is; the numbers are those of :mod:`logging`.
    """

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Base of all events.
    """

    kind: ClassVar[str] = "event"

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class Envelope(NamedTuple):
    """
    An event with what the bus knew when it was published.
    """

    number: int
    """Counts the events of this bus from 1, without holes."""

    time_s: float
    """The clock's monotonic seconds."""

    trace_id: TraceId | None
    event: Event


# The service and its callers --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted(Event):
    """
    The service accepts requests; what the store held has been recovered.
    """

    version: str
    store: str
    recovered_deliveries: int = 0
    recovered_chats: int = 0
    expired_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopping(Event):
    """
    The service takes no more work and finishes what is in flight.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopped(Event):
    """
    Everything was finished or released.
    """

    unfinished_chats: int
    unfinished_deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReceived(Event):
    """
    A chat passed validation and is being worked on.
    """

    mode: str
    """``sync``, ``async`` or ``stream``."""

    session_id: str
    callback_id: CallbackId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswered(Event):
    """
    The model's final answer is ready for the caller.
    """

    mode: str
    turns: int
    tool_calls: int
    duration_s: float
    callback_id: CallbackId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFailed(Event):
    """
    The chat ended without an answer.
    """

    mode: str
    reason: str
    """The error code that the caller is told."""

    status: int
    duration_s: float
    callback_id: CallbackId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResumed(Event):
    """
    An accepted chat goes on after a restart.
    """

    callback_id: CallbackId
    turns: int


# Resilience -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    """
    All permits were granted and the call is made.
    """

    operation: str
    attempt_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(Event):
    """
    An attempt has an outcome.
    """

    operation: str
    attempt_number: int
    outcome: str
    """``success``, ``failure``, ``backpressure`` or ``ignored``."""

    reason: str
    """``ok``, or the cause in a few fixed words, like ``status_503`` or ``timeout``."""

    duration_s: float
    status: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """
    An attempt failed and another one will follow.
    """

    operation: str
    attempt_number: int
    """The attempt that failed."""

    delay_s: float
    reason: str
    asked_s: float | None = None
    """What the peer asked for with ``Retry-After``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGaveUp(Event):
    """
    An attempt failed and no other one will follow.
    """

    operation: str
    attempt_number: int
    reason: str
    """
    Why not: ``attempts_max``, ``permanent``, ``budget``, ``deadline``, ``committed``,
    ``retry_after_max``, ``circuit_open`` or ``rejected``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged(Event):
    """
    A circuit went from one state to another.
    """

    circuit: str
    from_state: str
    to_state: str
    reason: str
    generation: int
    failures: int = 0
    break_duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitWouldHaveOpened(Event):
    """
    A circuit that only observes met a rule that would have opened it.
    """

    circuit: str
    reason: str
    generation: int
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStarted(Event):
    """
    A half-open circuit let a call through.
    """

    circuit: str
    generation: int
    probes: int
    """Probes under way, this one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEnded(Event):
    """
    A probe has an outcome; its slot is free again.
    """

    circuit: str
    generation: int
    outcome: str
    successes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeExpired(Event):
    """
    A probe gave no outcome within its lease; its slot is free again.
    """

    circuit: str
    generation: int
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleOutcomeIgnored(Event):
    """
    An outcome of an older generation came in and changed nothing.
    """

    circuit: str
    generation: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRejected(Event):
    """
    A strategy refused an attempt before it was made.
    """

    operation: str
    strategy: str
    """``circuit_breaker``, ``rate_limiter``, ``bulkhead`` or ``deadline``."""

    reason: str
    retry_after_s: float | None = None
    circuit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimiterWaited(Event):
    """
    A permit was granted after a wait.
    """

    limiter: str
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimiterPaused(Event):
    """
    The peer asked for a pause and the limiter keeps it.
    """

    limiter: str
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyLimitChanged(Event):
    """
    An adaptive limiter lets more or fewer calls out at once.
    """

    limiter: str
    from_limit: int
    to_limit: int
    reason: str
    """``no_queue``, ``queue``, ``latency``, ``gradient`` or ``dropped``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStarted(Event):
    """
    An attempt took longer than most do, and a second one runs beside it.
    """

    operation: str
    attempt_number: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackUsed(Event):
    """
    A call was refused and is answered with something lesser.
    """

    operation: str
    reason: str


# Tools ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStarted(Event):
    """
    The arguments are valid and the tool is being run.
    """

    tool: str
    tool_call_id: ToolCallId


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallEnded(Event):
    """
    A tool call has its answer, and the answer is committed.
    """

    tool: str
    tool_call_id: ToolCallId
    outcome: str
    """``completed`` or ``failed``."""

    reason: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCallOpened(Event):
    """
    A deferred tool call is in the store and may be resolved.
    """

    tool: str
    tool_call_id: ToolCallId
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCallResolved(Event):
    """
    The result of a deferred tool call came in time and is committed.
    """

    tool: str
    tool_call_id: ToolCallId
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCallExpired(Event):
    """
    A deferred tool call was not resolved in time.
    """

    tool: str
    tool_call_id: ToolCallId
    timeout_s: float


# Webhooks ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEnqueued(Event):
    """
    A message and its delivery are committed.
    """

    message_id: MessageId
    event_type: str
    endpoint: str
    tool_call_id: ToolCallId | None = None
    callback_id: CallbackId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttemptStarted(Event):
    """
    A delivery is being sent; the attempt is already counted in the store.
    """

    message_id: MessageId
    endpoint: str
    attempt_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttemptRejected(Event):
    """
    The circuit of an endpoint opened while a delivery was claimed; it waits again.
    """

    message_id: MessageId
    endpoint: str
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttemptEnded(Event):
    """
    A delivery attempt has an outcome.
    """

    message_id: MessageId
    endpoint: str
    attempt_number: int
    outcome: str
    """``success`` or ``failure``."""

    reason: str
    duration_s: float
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCircuitChanged(Event):
    """
    The circuit of an endpoint went from one state to another.
    """

    endpoint: str
    from_state: str
    to_state: str
    reason: str
    failures: int = 0
    break_duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRetryScheduled(Event):
    """
    A delivery failed and will be tried again.
    """

    message_id: MessageId
    endpoint: str
    attempt_number: int
    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivered(Event):
    """
    The endpoint acknowledged and that is committed.
    """

    message_id: MessageId
    endpoint: str
    attempt_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDead(Event):
    """
    A delivery was given up and is a dead letter.
    """

    message_id: MessageId
    endpoint: str
    attempt_number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRedelivered(Event):
    """
    A dead letter was put back to be sent again.
    """

    message_id: MessageId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPurged(Event):
    """
    A dead letter was forgotten by hand.
    """

    message_id: MessageId
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAccepted(Event):
    """
    An incoming message was verified and its effect is committed.
    """

    message_id: MessageId
    event_type: str
    outcome: str
    """``applied``, ``duplicate``, ``late`` or ``unknown``."""

    tool_call_id: ToolCallId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRefused(Event):
    """
    An incoming message was refused and changed nothing.
    """

    reason: str
    status: int


# Health of the bus itself -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Event):
    """
    A bounded listener was too slow and lost events.
    """

    listener: str
    dropped_events: int


EVENT_TYPES: Final[tuple[type[Event], ...]] = tuple(
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
)
"""Every kind of event there is."""

SEVERITIES: Final[Mapping[type[Event], Severity]] = {
    AttemptStarted: Severity.DEBUG,
    AttemptEnded: Severity.DEBUG,
    ProbeStarted: Severity.DEBUG,
    ProbeEnded: Severity.DEBUG,
    RateLimiterWaited: Severity.DEBUG,
    ToolCallStarted: Severity.DEBUG,
    WebhookAttemptStarted: Severity.DEBUG,
    WebhookAttemptEnded: Severity.DEBUG,
    ChatFailed: Severity.WARNING,
    RetryScheduled: Severity.WARNING,
    RetryGaveUp: Severity.WARNING,
    CircuitChanged: Severity.WARNING,
    WebhookCircuitChanged: Severity.WARNING,
    CircuitWouldHaveOpened: Severity.WARNING,
    ProbeExpired: Severity.WARNING,
    StaleOutcomeIgnored: Severity.WARNING,
    RateLimiterPaused: Severity.WARNING,
    PendingCallExpired: Severity.WARNING,
    WebhookRetryScheduled: Severity.WARNING,
    WebhookRefused: Severity.WARNING,
    WebhookDead: Severity.ERROR,
    EventsDropped: Severity.ERROR,
}
"""Whatever is not listed is :attr:`Severity.INFO`."""

_RECORD_NAMES: Final = {"from_state": "from", "to_state": "to"}


def severity_of(event: Event) -> Severity:
    """
    Return how serious an event is.
    """
    return SEVERITIES.get(type(event), Severity.INFO)


def to_fields(event: Event) -> dict[str, Any]:
    """
    Return what an event says, under the names of the event log; None is left out.
    """
    values: dict[str, Any] = {"kind": event.kind}
    event_type = type(event)
    if (names := _NAMES.get(event_type)) is None:
        names = _NAMES[event_type] = _names_of(event_type)
    for attribute, name in names:
        value = getattr(event, attribute)
        if value is not None:
            values[name] = value
    return values


_NAMES: Final[dict[type[Event], tuple[tuple[str, str], ...]]] = {}
"""What :func:`_names_of` found, for every kind that was asked for."""


def _names_of(event_type: type[Event]) -> tuple[tuple[str, str], ...]:
    """
    Return the attributes of a kind of event with their names in the event log.
    """
    return tuple(
        (field.name, _RECORD_NAMES.get(field.name, field.name))
        for field in fields(event_type)
    )
