"""
The endpoint that receives the service's webhooks: ``POST /webhooks/{name}``.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import orjson

from mock_server.encoding import to_json_bytes
from mock_server.faults import Target
from mock_server.hashes import sha256_of
from mock_server.limits import Counts
from mock_server.script import (
    NamedEndpointScript,
    WebhookEndpointScript,
    WebhookMatch,
    WebhookReplyScript,
)
from mock_server.signatures import check
from mock_server.surfaces.ports import Answer, CallKeys, SurfaceRequest, WorldMemory
from mock_server.wire import Chunk, End, Head, Pace, Plan

PATH_PREFIX = "/webhooks/"
_METHOD_NOT_ALLOWED = WebhookReplyScript(
    status=405,
    body={"error": {"code": "method_not_allowed", "message": "Webhooks are POSTed."}},
)


class WebhookEndpoint:
    """
    Takes every delivery, says whether its signature holds, and answers as scripted.

    Args:
        script: What the endpoints do.
        secret: ``whsec_…``; None verifies nothing.
        messages_max: How many messages' attempts are counted.
    """

    name: ClassVar[str] = "webhook_endpoint"
    target: ClassVar[Target] = Target.WEBHOOK_ENDPOINT
    is_silent: ClassVar[bool] = False

    def __init__(
        self, script: WebhookEndpointScript, *, secret: str | None, messages_max: int
    ) -> None:
        self._script = script
        self._secret = secret
        self._attempts: Counts[tuple[str, str]] = Counts(messages_max)

    @property
    def dropped(self) -> int:
        """
        Messages whose attempts are no longer counted.
        """
        return self._attempts.dropped

    def forget(self) -> None:
        """
        Count anew.
        """
        self._attempts.clear()

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return the acknowledgement.
        """
        del world
        endpoint = request.path.removeprefix(PATH_PREFIX)
        values = _parse(request.body)
        body_sha256 = sha256_of(request.body)
        message_id = request.headers.get("webhook-id") or None
        # Without an id only the body tells one message from another.
        counted_as = (endpoint, message_id or body_sha256)
        attempt_number = self._attempts.add(counted_as)
        found = check(
            request.headers,
            request.body,
            secret=self._secret,
            now_s=request.received_wall_s,
            tolerance_s=self._script.tolerance_s,
        )
        event_type = _text(values.get("type", values.get("event")))
        facts = _facts_of(values)
        if found.reason is not None:
            facts["reason"] = found.reason
        reply = _METHOD_NOT_ALLOWED
        if request.method == "POST":
            reply = self._reply_to(endpoint, event_type, attempt_number)
        return Answer(
            keys=CallKeys(
                conversation=":".join(counted_as), turn=0, attempt_number=attempt_number
            ),
            plan=_plan_of(reply),
            received={
                **facts,
                "endpoint": endpoint,
                "message_id": message_id,
                "attempt_number": attempt_number,
                "event_type": event_type,
                "verified": found.is_verified,
                "body_sha256": body_sha256,
                "timestamp": request.headers.get("webhook-timestamp"),
            },
        )

    def _reply_to(
        self, endpoint: str, event_type: str | None, attempt_number: int
    ) -> WebhookReplyScript:
        script: NamedEndpointScript = self._script.endpoints.get(endpoint, self._script)
        for rule in script.script:
            if _matches(rule.match, event_type, attempt_number):
                return rule.reply
        return script.reply


def _matches(match: WebhookMatch, event_type: str | None, attempt_number: int) -> bool:
    return (match.type is None or fnmatchcase(event_type or "", match.type)) and (
        match.attempt is None or attempt_number in match.attempt
    )


def _facts_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the ids that a message of the contract, or of the article, carries.
    """
    data = values.get("data")
    source = data if isinstance(data, Mapping) else values
    ids = {
        "tool_call_id": _text(source.get("call_id")),
        "callback_id": _text(source.get("callback_id")),
    }
    return {name: value for name, value in ids.items() if value is not None}


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _plan_of(reply: WebhookReplyScript) -> Plan:
    body = b"" if reply.body is None else to_json_bytes(reply.body)
    headers: tuple[tuple[str, str], ...] = (("content-length", str(len(body))),)
    if body:
        headers = (("content-type", "application/json"), *headers)
    headers += tuple((name.lower(), value) for name, value in reply.headers.items())
    # Without a body too, so that latency comes before the headers.
    return (Head(reply.status, headers), Chunk(body, Pace.FIRST_TOKEN), End())
