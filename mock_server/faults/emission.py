"""
A webhook on its way to the service, before it is signed and sent.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self


class Signing(StrEnum):
    """
    How an emission is signed.
    """

    GOOD = "good"
    FLIPPED = "flipped"
    """With the right secret, and then one character is changed."""

    MISSING = "missing"
    """Without the header."""

    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a way to sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """
    One request that the mock will send to the service.
    """

    message_id: str
    event_type: str
    body: bytes
    tool_call_id: str | None = None
    delay_s: float = 0.0
    """How long it waits, besides what every emission waits."""

    timestamp_offset_s: int = 0
    """Added to the signed timestamp."""

    signing: Signing = Signing.GOOD
    content_type: str = "application/json"
    changed_body: bytes | None = None
    """Sent instead of the body that was signed."""

    headers: tuple[tuple[str, str], ...] = ()
    """Further headers."""

    secret: str | None = None
    """Signs it instead of the mock's own, if it is given."""

    signs_changed: bool = False
    """The signature covers the body that is sent, not the one that was meant."""

    @property
    def sent_body(self) -> bytes:
        """
        The bytes that are sent.
        """
        return self.body if self.changed_body is None else self.changed_body

    @property
    def signed_body(self) -> bytes:
        """
        The bytes that the signature covers.
        """
        return self.sent_body if self.signs_changed else self.body

    def replaced(self, **fields: Any) -> Self:
        """
        Return the emission with other fields.
        """
        return replace(self, **fields)
