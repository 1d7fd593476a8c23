"""
A chat as it is asked for, and what is answered, on the way through the modes.
"""

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from harness.orchestrator import Chat, ChatCommand, ChatMode
from harness.stores import IdempotentAnswer
from harness.web.answers import JSON_TYPE

_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Ask:
    """
    A request for a chat.
    """

    request: web.Request
    command: ChatCommand
    mode: ChatMode
    scoped_key: str | None = None
    """The idempotency key as the store knows it, if the request has one."""

    chat: Chat | None = None
    """The chat, once it was begun for a caller who waits."""

    @property
    def had_effect(self) -> bool:
        """
        Whether something was done that doing it again would do twice.
        """
        return self.chat is not None and self.chat.calls_started > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """
    What a request was answered.
    """

    response: web.StreamResponse
    kept: IdempotentAnswer | None
    """What a repetition is given; None where that is written already."""

    error: Exception | None = None
    """Why the answer is one of failure, where it had already begun."""


def mode_of(request: web.Request) -> ChatMode:
    """
    Return how the caller wants the answer.
    """
    preferences = ",".join(request.headers.getall("Prefer", []))
    words = {part.partition(";")[0].strip().lower() for part in preferences.split(",")}
    if "respond-async" in words:
        return ChatMode.ASYNC
    accepted = ",".join(request.headers.getall("Accept", []))
    types = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    return ChatMode.STREAM if "text/event-stream" in types else ChatMode.SYNC


def origin_of(request: web.Request) -> str:
    """
    Return scheme and host that the caller knows us by, or reached us at.
    """
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        sockname = request.transport and request.transport.get_extra_info("sockname")
        address, port = (sockname or ("localhost", 80))[:2]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{request.scheme}://{host}"


def kept(response: web.Response) -> IdempotentAnswer:
    """
    Return an answer in the form in which it is kept for a repetition.
    """
    body = response.body
    return IdempotentAnswer(
        status=response.status,
        body=body if isinstance(body, bytes) else b"",
        content_type=JSON_TYPE,
    )
