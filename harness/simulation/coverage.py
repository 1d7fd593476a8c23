"""
What should happen sometimes: situations that seeds are explored for.

A promise that was never put to the test proves nothing. Each run is watched for the
situations that are known to be hard; over many seeds one sees which of them came.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Record = Mapping[str, Any]

_CIRCUIT: Final = {
    ("closed", "open"): "a circuit opened",
    ("open", "half_open"): "a circuit probed",
    ("half_open", "closed"): "a circuit closed after probes",
    ("half_open", "open"): "a circuit opened again after a probe",
}
_PROBE: Final = {"failure": "a probe failed", "ignored": "a probe was cancelled"}
_CUT: Final = frozenset({"cut", "reset", "closed"})
_SUCCESS: Final = range(200, 300)

BEFORE_SEND: Final = "a crash before a webhook was sent"
BEFORE_REPLY: Final = "a crash between sending a webhook and its reply"
BEFORE_RECORD: Final = "a crash between a webhook's reply and its record"
BEFORE_ACKNOWLEDGEMENT: Final = (
    "a crash between recording a tool's result and acknowledging it"
)
CUT_ARGUMENTS: Final = "a stream was cut that held tool calls"
DUPLICATE: Final = "a webhook was delivered twice"
DUPLICATE_RESULT: Final = "a tool's result came twice"
KEY_AGAIN: Final = "an idempotency key was used again after a crash"
REDELIVERED: Final = "a dead letter was redelivered"
WAIT_ABOVE_CAP: Final = "a Retry-After was above the cap"

SITUATIONS: Final[tuple[str, ...]] = (
    *_CIRCUIT.values(),
    *_PROBE.values(),
    WAIT_ABOVE_CAP,
    CUT_ARGUMENTS,
    DUPLICATE,
    DUPLICATE_RESULT,
    REDELIVERED,
    KEY_AGAIN,
    BEFORE_SEND,
    BEFORE_REPLY,
    BEFORE_RECORD,
    BEFORE_ACKNOWLEDGEMENT,
)
"""Every situation that is looked for."""


class Coverage:
    """
    Watches one run.

    Attributes:
        reached: The situations that came.
    """

    def __init__(self) -> None:
        self.reached: set[str] = set()
        self._stage: dict[str, str] = {}
        self._results: set[str] = set()
        self._keys: set[str] = set()
        self._keys_of_the_dead: set[str] = set()
        self._heard: set[str] = set()

    def note(self, record: Record) -> None:
        """
        Take the next record of the event log.
        """
        self.reached.update(self._shown_by(record))

    def _shown_by(self, record: Record) -> Iterator[str]:
        match record["kind"]:
            case "circuit_changed":
                step = (str(record["from"]), str(record["to"]))
                yield from filter(None, [_CIRCUIT.get(step)])
            case "probe_ended":
                yield from filter(None, [_PROBE.get(str(record["outcome"]))])
            case "retry_gave_up" if record.get("reason") == "retry_after_max":
                yield WAIT_ABOVE_CAP
            case "webhook_redelivered":
                yield REDELIVERED
            case "upstream_request_received":
                yield from self._keys_seen(record.get("idempotency_key"))
            case "upstream_request_ended":
                if record.get("outcome") in _CUT and record.get("tool_calls"):
                    yield CUT_ARGUMENTS
            case "service_killed":
                yield from self._cut_short()
            case _:
                yield from self._webhook(record)

    def _keys_seen(self, key: str | None) -> Iterator[str]:
        if key is not None:
            self._keys.add(key)
            if key in self._keys_of_the_dead:
                yield KEY_AGAIN

    def _webhook(self, record: Record) -> Iterator[str]:
        message_id = str(record.get("message_id"))
        match record["kind"]:
            case "webhook_enqueued":
                self._stage[message_id] = BEFORE_SEND
            case "webhook_attempt_started":
                self._stage[message_id] = BEFORE_REPLY
            case "webhook_received" if record.get("status") in _SUCCESS:
                if message_id in self._heard:
                    yield DUPLICATE
                self._heard.add(message_id)
                self._stage[message_id] = BEFORE_RECORD
            case "webhook_attempt_ended" | "webhook_delivered" | "webhook_dead":
                self._stage.pop(message_id, None)
            case "webhook_accepted":
                if record.get("outcome") == "duplicate":
                    yield DUPLICATE_RESULT
                self._results.add(message_id)
            case "webhook_emitted":
                self._results.discard(message_id)

    def _cut_short(self) -> Iterator[str]:
        yield from self._stage.values()
        if self._results:
            yield BEFORE_ACKNOWLEDGEMENT
        self._stage.clear()
        self._results.clear()
        self._keys_of_the_dead |= self._keys
