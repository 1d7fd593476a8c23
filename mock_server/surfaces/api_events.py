"""
The API's own webhooks: what happened to a background response or to a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from mock_server.draws import Draws
from mock_server.faults import Emission

USER_AGENT: Final = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
_ID_LENGTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEvent:
    """
    Something that the API tells its users, once its time has come.
    """

    world: str
    event_type: str
    """Like ``response.completed``."""

    object_id: str
    """What it happened to."""

    delay_s: float = 0.0
    """When it happens, from the moment it is announced."""

    trace_id: str | None = None
    is_due: Callable[[], bool] = field(default=lambda: True)
    """Asked when the time has come: False if it did not happen after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    Somebody who wants to be told.
    """

    url: str
    keys: tuple[bytes, ...] = field(repr=False)
    """Each signs; while a secret is being rotated there are two."""

    endpoint_id: str | None = None
    """Of an endpoint that was registered; None for the service itself."""


Subscribers = Callable[[str, str], Sequence[Destination]]
"""Returns who wants an event of a type in a world."""


def nobody(world: str, event_type: str) -> Sequence[Destination]:
    """
    Return no destination at all.
    """
    del world, event_type
    return ()


def emission_of(
    event: ApiEvent, destination: Destination, *, draws: Draws, created_s: int
) -> Emission:
    """
    Return the message that tells a destination of an event.

    Args:
        event: What happened.
        destination: Who is told; each is told under a message id of its own.
        draws: Mints the ids.
        created_s: Unix time of the event, the same however often it is sent.
    """
    place = (event.world, event.event_type, event.object_id)
    to = destination.endpoint_id or destination.url
    body = {
        "object": "event",
        "id": draws.mint_hex("evt_", *place, length=_ID_LENGTH),
        "type": event.event_type,
        "created_at": created_s,
        "data": {"id": event.object_id},
    }
    return Emission(
        message_id=draws.mint_hex("wh_", *place, to, length=_ID_LENGTH),
        event_type=event.event_type,
        body=orjson.dumps(body),
    )
