"""
An answered chat as one piece of bytes.

A journal keeps thousands of entries and few are read. As objects, an entry would be
some forty of them, spread over memory that no processor's cache holds: to make them
and to free them would take longer than to answer. So the bytes that came in and those
that went out are kept as they were, and everything else is made of them again by
whoever reads.
"""

import struct
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from multidict import CIMultiDict

from mock_server.caller import api_key_of, trace_id_of
from mock_server.entries import Told
from mock_server.script import Seen, name_conversation
from mock_server.surfaces.chat_completions import PATH, ChatCompletions
from mock_server.surfaces.ports import Answer, CallKeys, Facts, SurfaceRequest
from mock_server.surfaces.scripted import received_facts
from mock_server.wire import parse_chat_request

_NUMBERS: Final = struct.Struct("<IIQddQIi")
"""
How many bytes the head of the request has and how many its body, the number of the
entry, when it came in by both clocks, how many microseconds it took, which attempt it
was, and the rule that answered.
"""

_ID_BYTES: Final = 36
_START: Final = _NUMBERS.size + _ID_BYTES
_NO_RULE: Final = -1


def pack(
    number: int,
    data: bytes,
    request: SurfaceRequest,
    answer: Answer,
    sent: bytes,
    elapsed_s: float,
) -> bytes:
    """
    Return the entry of a chat that was answered with 200 at once.

    Args:
        number: That of the entry.
        data: What came in, which is this request and nothing else.
        request: What was made of it.
        answer: What was decided.
        sent: The body of the answer.
        elapsed_s: How long it took.
    """
    body_bytes = len(request.body)
    rule = answer.rule
    numbers = _NUMBERS.pack(
        len(data) - body_bytes,
        body_bytes,
        number,
        request.received_s,
        request.received_wall_s,
        int(elapsed_s * 1e6),
        answer.keys.attempt_number,
        _NO_RULE if rule is None else rule,
    )
    return b"".join((numbers, request.request_id.encode(), data, sent))


def number_of(packed: bytes) -> int:
    """
    Return the number of an entry.
    """
    number: int = _NUMBERS.unpack_from(packed)[2]
    return number


def kept_bytes_of(packed: bytes) -> int:
    """
    Return what the bodies of an entry take.
    """
    return len(packed) - _START - int.from_bytes(packed[:4], "little")


class PackedEntry(Told):
    """
    An entry that is unpacked as far as somebody reads it.

    Args:
        packed: Its bytes.
        world: Whose it is.
    """

    surface = ChatCompletions.name
    script_error = None
    status = 200
    outcome = "complete"
    faults = ()
    depends_on = ()
    planned_us = 0

    def __init__(self, packed: bytes, world: str) -> None:
        self._packed = packed
        self.world = world
        (
            self._head_bytes,
            self.request_bytes,
            self.number,
            self._received_s,
            self._received_wall_s,
            self.actual_us,
            self._attempt_number,
            rule,
        ) = _NUMBERS.unpack_from(packed)
        self.rule = None if rule == _NO_RULE else rule
        self._body_at = _START + self._head_bytes
        self._answer_at = self._body_at + self.request_bytes
        self.answer_bytes = len(packed) - self._answer_at

    @property
    def answer(self) -> bytes:  # type: ignore[override]
        """
        The body of the answer.
        """
        return self._packed[self._answer_at :]

    @cached_property
    def asked(self) -> SurfaceRequest:  # type: ignore[override]
        """
        The request.
        """
        headers = _headers_in(self._packed[_START : self._body_at])
        return SurfaceRequest(
            request_id=self._packed[_NUMBERS.size : _START].decode(),
            method="POST",
            path=PATH,
            query={},
            headers=headers,
            body=self._packed[self._body_at : self._answer_at],
            trace_id=trace_id_of(headers),
            api_key=api_key_of(headers),
            received_s=self._received_s,
            received_wall_s=self._received_wall_s,
        )

    @cached_property
    def keys(self) -> CallKeys:  # type: ignore[override]
        """
        What chance was drawn from.
        """
        seen, number = self._seen, self._attempt_number
        name = name_conversation(seen, self.asked.trace_id)
        return CallKeys(
            conversation=name.key,
            turn=seen.turn,
            attempt_number=number,
            ambiguous=number > 1 and not name.is_unique,
        )

    @property
    def received(self) -> Facts:  # type: ignore[override]
        """
        What the surface said of it.
        """
        return received_facts(self._seen)

    @cached_property
    def _seen(self) -> Seen:
        # It was accepted: what may be wrong with it, only a lenient script let pass.
        chat = parse_chat_request(self.asked.body, strict=False)
        return Seen(chat, self.asked.headers)


def _headers_in(head: bytes) -> Mapping[str, str]:
    """
    Return the headers of a head that the parser has accepted.
    """
    headers: CIMultiDict[str] = CIMultiDict()
    for line in head.decode("utf-8", "surrogateescape").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        headers.add(name, value.strip(" \t"))
    return headers
