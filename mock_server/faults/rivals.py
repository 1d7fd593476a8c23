"""
Faults of the emitter that send more than one message, or in another order.
"""

import gzip
import json
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from mock_server.faults.emission import Emission
from mock_server.faults.emitter import Emissions, EmitterFault
from mock_server.faults.fault import FaultContext
from mock_server.signatures import parse_secret
from mock_server.units import Duration


class Reorder(EmitterFault):
    """
    Lets messages overtake each other: each waits a drawn share of the spread.
    """

    name: ClassVar[str] = "reorder"

    spread: Duration = 2.0
    """The longest wait."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, each later.
        """
        wait_s = context.draw("order") * self.spread
        return tuple(replace(e, delay_s=e.delay_s + wait_s) for e in emissions)


class Early(EmitterFault):
    """
    Sends the result before the answer that says the tool will report later.
    """

    name: ClassVar[str] = "early"

    head_start: Duration = 0.2
    """How long the answer waits for the webhook to be taken, at most."""

    @property
    def head_start_s(self) -> float:
        """
        The head start.
        """
        return self.head_start


def _checked_secret(text: str) -> str:
    parse_secret(text)
    return text


class RetiredSecret(EmitterFault):
    """
    Signs with the secret that was in use before the last rotation.
    """

    name: ClassVar[str] = "retired_secret"

    secret: Annotated[str, AfterValidator(_checked_secret)] = (
        "whsec_cmV0aXJlZC1zZWNyZXQtb2YtdGhlLW1vY2s="  # noqa: S105 - meant to be known
    )
    """Give the one that the service knows as retired."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, signed with the old secret.
        """
        del context
        return tuple(replace(e, secret=self.secret) for e in emissions)


class ReplayedId(EmitterFault):
    """
    Sends the message again, later, bit for bit: id, timestamp and signature of before.
    """

    name: ClassVar[str] = "replayed_id"

    after: Duration = 5.0
    """How much later; beyond the receiver's tolerance the timestamp is stale too."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, each with its replay.
        """
        del context
        return tuple(
            one
            for emission in emissions
            for one in (
                emission,
                replace(
                    emission,
                    delay_s=emission.delay_s + self.after,
                    timestamp_offset_s=emission.timestamp_offset_s - round(self.after),
                ),
            )
        )


class SameIdOtherBody(EmitterFault):
    """
    Sends a second message under the id of the first, correctly signed.
    """

    name: ClassVar[str] = "same_id_other_body"

    after: Duration = 0.0
    """How long after the first."""

    result: Any = Field(default_factory=lambda: {"other": True})
    """What the second message says."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, each followed by its double.
        """
        del context
        return tuple(
            one for emission in emissions for one in (emission, self._double(emission))
        )

    def _double(self, emission: Emission) -> Emission:
        values = json.loads(emission.body)
        data = values.get("data")
        if isinstance(data, dict):
            data["result"] = self.result
        return replace(
            emission,
            body=json.dumps(values, separators=(",", ":")).encode(),
            delay_s=emission.delay_s + self.after,
        )


class BodyReserialized(EmitterFault):
    """
    Signs the body and sends the same JSON with other blanks and another order of keys.
    """

    name: ClassVar[str] = "body_reserialized"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, written anew after they were signed.
        """
        del context
        return tuple(replace(e, changed_body=_rewritten(e.body)) for e in emissions)


def _rewritten(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=2, sort_keys=True).encode()


class Compressed(EmitterFault):
    """
    Sends the body compressed.
    """

    name: ClassVar[str] = "compressed"

    signed: Literal["sent", "original"] = "sent"
    """Which bytes the signature covers."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions with ``content-encoding: gzip``.
        """
        del context
        return tuple(
            replace(
                e,
                changed_body=gzip.compress(e.body, mtime=0),
                signs_changed=self.signed == "sent",
                headers=(*e.headers, ("content-encoding", "gzip")),
            )
            for e in emissions
        )


class Oversized(EmitterFault):
    """
    Sends far more than a webhook may hold, correctly signed.
    """

    name: ClassVar[str] = "oversized"

    body_bytes: int = Field(default=20_000_000, ge=1, le=1_000_000_000)
    """About how much."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions with padding.
        """
        del context
        padding = b'"padding":"' + b"x" * self.body_bytes + b'",'
        return tuple(
            replace(e, body=e.body.replace(b"{", b"{" + padding, 1)) for e in emissions
        )


class Garbage(EmitterFault):
    """
    Sends bytes that are no JSON, correctly signed.
    """

    name: ClassVar[str] = "garbage"

    form: Literal["bytes", "empty", "truncated", "list", "deep"] = "bytes"
    """What the body is."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions with another body.
        """
        del context
        return tuple(replace(e, body=_garbage(e.body, self.form)) for e in emissions)


_LEVELS = 10_000


def _garbage(body: bytes, form: str) -> bytes:
    return {
        "bytes": bytes(range(256)),
        "empty": b"",
        "truncated": body[: len(body) // 2],
        "list": b"[" + body + b"]",
        "deep": b"[" * _LEVELS + b"]" * _LEVELS,
    }[form]
