"""
Faults of the webhooks that the mock sends to the service.
"""

import json
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from mock_server.faults.emission import Emission, Signing
from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.units import Duration

Emissions = tuple[Emission, ...]


class EmitterFault(Fault):
    """
    Base of the emitter's faults.
    """

    level: ClassVar[Level] = Level.EMISSION
    targets: ClassVar[frozenset[Target]] = frozenset({Target.WEBHOOK_EMITTER})


class Delay(EmitterFault):
    """
    Sends so much later.
    """

    name: ClassVar[str] = "delay"

    delay: Duration = 5.0
    """Added to what the emitter waits anyway."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, later.
        """
        del context
        return tuple(replace(e, delay_s=e.delay_s + self.delay) for e in emissions)


class Duplicate(EmitterFault):
    """
    Sends the same message again, acknowledged or not.
    """

    name: ClassVar[str] = "duplicate"

    copies: int = Field(default=1, ge=1, le=1000)
    """How many more are sent."""

    spacing: Duration = 0.0
    """The time between them; 0s sends all at the same moment."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions and their copies.
        """
        del context
        return tuple(
            replace(emission, delay_s=emission.delay_s + number * self.spacing)
            for emission in emissions
            for number in range(self.copies + 1)
        )


class Drop(EmitterFault):
    """
    Never sends it.
    """

    name: ClassVar[str] = "drop"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return nothing.
        """
        del emissions, context
        return ()


class BadSignature(EmitterFault):
    """
    Signs with the right secret and changes one character of the signature.
    """

    name: ClassVar[str] = "bad_signature"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, wrongly signed.
        """
        del context
        return tuple(replace(e, signing=Signing.FLIPPED) for e in emissions)


class MissingSignature(EmitterFault):
    """
    Sends without the signature header.
    """

    name: ClassVar[str] = "missing_signature"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, unsigned.
        """
        del context
        return tuple(replace(e, signing=Signing.MISSING) for e in emissions)


class WrongSecret(EmitterFault):
    """
    Signs with a secret that the service does not know.
    """

    name: ClassVar[str] = "wrong_secret"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, signed with another secret.
        """
        del context
        return tuple(replace(e, signing=Signing.WRONG_SECRET) for e in emissions)


class StaleTimestamp(EmitterFault):
    """
    Signs correctly, with a timestamp of long ago: a replay.
    """

    name: ClassVar[str] = "stale_timestamp"

    age: Duration = 600.0
    """How old the timestamp is."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, dated back.
        """
        del context
        return tuple(replace(e, timestamp_offset_s=-int(self.age)) for e in emissions)


class FutureTimestamp(EmitterFault):
    """
    Signs correctly, with a timestamp that is yet to come.
    """

    name: ClassVar[str] = "future_timestamp"

    ahead: Duration = 600.0
    """How far ahead the timestamp is."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, dated forward.
        """
        del context
        return tuple(replace(e, timestamp_offset_s=int(self.ahead)) for e in emissions)


class BodyChanged(EmitterFault):
    """
    Signs one body and sends another one: one space is added.
    """

    name: ClassVar[str] = "body_changed"

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions with a body that was not signed.
        """
        del context
        return tuple(replace(e, changed_body=e.body + b" ") for e in emissions)


class RivalResult(EmitterFault):
    """
    Sends a second message for the same call, correctly signed, with another result.
    """

    name: ClassVar[str] = "rival_result"

    after: Duration = 0.0
    """How long after the first."""

    result: Any = Field(default_factory=lambda: {"rival": True})
    """What the second message says."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions, each followed by its rival.
        """
        del context
        return tuple(
            rival
            for emission in emissions
            for rival in (emission, self._rival_of(emission))
        )

    def _rival_of(self, emission: Emission) -> Emission:
        body = json.loads(emission.body)
        body["type"] = "function_call.completed"
        body["data"].pop("error", None)
        body["data"]["result"] = self.result
        return replace(
            emission,
            message_id=emission.message_id + "rival",
            event_type="function_call.completed",
            body=json.dumps(body, separators=(",", ":")).encode(),
            delay_s=emission.delay_s + self.after,
        )


class UnknownCall(EmitterFault):
    """
    Sends the result under a call id that nobody is waiting for.
    """

    name: ClassVar[str] = "unknown_call"

    call_id: str = "call_nobody_knows_this_one"
    """The id that is sent."""

    def on_emission(self, emissions: Emissions, context: FaultContext) -> Emissions:
        """
        Return the emissions under the other id.
        """
        del context
        return tuple(self._renamed(emission) for emission in emissions)

    def _renamed(self, emission: Emission) -> Emission:
        body = json.loads(emission.body)
        body["data"]["call_id"] = self.call_id
        return replace(emission, body=json.dumps(body, separators=(",", ":")).encode())
