"""
A webhook that has to be sent: what it says, where it goes, and its headers.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mock_server.draws import Draws
from mock_server.encoding import to_json_bytes
from mock_server.faults import Emission, Signing
from mock_server.signatures import parse_secret, sign
from mock_server.surfaces.api_events import USER_AGENT, ApiEvent, Destination
from mock_server.surfaces.tool_backend import ToolOutcome

_OWN_USER_AGENT: Final = "toolcall-harness-mock"
_WRONG_KEY: Final = b"a secret that the service does not know"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    A message, and where it goes.
    """

    emission: Emission
    trace_id: str | None
    world: str
    tool: str | None = None
    """Whose result it is."""

    delay_s: float = 0.0
    destination: Destination | None = None
    """By default the service."""

    event: ApiEvent | None = None
    """What it tells, if it is one of the API's own events."""

    faults: tuple[str, ...] = ()
    """Those that hit it before its first attempt."""

    taken: asyncio.Event | None = None
    """Set once its first attempt has ended."""


def emission_of_tool(outcome: ToolOutcome, draws: Draws, occurred_s: float) -> Emission:
    """
    Return the message that tells the outcome of a deferred tool.
    """
    event_type = "function_call.completed"
    content: dict[str, object] = {"result": outcome.result}
    if outcome.error is not None:
        event_type = "function_call.failed"
        content = {"error": outcome.error}
    occurred = datetime.fromtimestamp(occurred_s, UTC).isoformat(
        timespec="milliseconds"
    )
    body = {
        "type": event_type,
        "timestamp": occurred.replace("+00:00", "Z"),
        "data": {
            "call_id": outcome.tool_call_id,
            "function": outcome.tool,
            **content,
        },
    }
    place = (outcome.world, outcome.tool_call_id, outcome.execution_number)
    return Emission(
        message_id=draws.mint("msg_", "emission", *place),
        event_type=event_type,
        body=to_json_bytes(body),
        tool_call_id=outcome.tool_call_id,
    )


def headers_of(
    job: Job,
    emission: Emission,
    *,
    wall_s: float,
    own_keys: tuple[bytes, ...],
    draws: Draws,
) -> dict[str, str]:
    """
    Return the headers of one attempt, signed at this time.
    """
    timestamp = int(wall_s) + emission.timestamp_offset_s
    headers = {
        "content-type": emission.content_type,
        "user-agent": _OWN_USER_AGENT if job.event is None else USER_AGENT,
        "webhook-id": emission.message_id,
        "webhook-timestamp": str(timestamp),
    }
    if job.trace_id is not None:
        span_id = draws.mint_hex("", emission.message_id, length=16)
        headers["traceparent"] = f"00-{job.trace_id}-{span_id}-01"
    headers |= dict(emission.headers)
    keys = own_keys if job.destination is None else job.destination.keys
    if emission.secret is not None:
        keys = (parse_secret(emission.secret),)
    if emission.signing is Signing.WRONG_SECRET:
        keys = (_WRONG_KEY,)
    if not keys or emission.signing is Signing.MISSING:
        return headers
    signatures = [
        sign(
            message_id=emission.message_id,
            timestamp=timestamp,
            body=emission.signed_body,
            key=key,
        )
        for key in keys
    ]
    if emission.signing is Signing.FLIPPED:
        signatures = list(map(_flip, signatures))
    headers["webhook-signature"] = " ".join(signatures)
    return headers


def _flip(signature: str) -> str:
    """
    Return a signature that is as long and differs in its first character.
    """
    version, _, value = signature.partition(",")
    return f"{version},{'B' if value[0] == 'A' else 'A'}{value[1:]}"
