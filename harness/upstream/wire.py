"""
The shapes of Chat Completions that we read, and nothing else of them.

Fields that are not listed are ignored; those that are must have their type. What a
field's absence means is decided where the answer is put together.
"""

from typing import Any, TypeVar

import msgspec

from harness.errors import UpstreamProtocolError, UpstreamStatusError
from harness.upstream.model import Breakage

DecodedT = TypeVar("DecodedT")


class WireFunction(msgspec.Struct):
    """
    The function of a call, or a part of it in a delta.
    """

    name: str | None = None
    arguments: str | None = None


class WireToolCall(msgspec.Struct):
    """
    A call of a plain answer.
    """

    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None


class WireToolCallDelta(msgspec.Struct):
    """
    A part of a call; all parts of one call have the same index.
    """

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None


class WireMessage(msgspec.Struct):
    """
    What the model says in a plain answer.
    """

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireDelta(msgspec.Struct):
    """
    What a chunk adds to the message.
    """

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCallDelta] | None = None


class WireChoice(msgspec.Struct):
    """
    One of the answers; we ask for one.
    """

    index: int = 0
    message: WireMessage | None = None
    finish_reason: str | None = None


class WireChunkChoice(msgspec.Struct):
    """
    A part of one of the answers.
    """

    index: int = 0
    delta: WireDelta | None = None
    finish_reason: str | None = None


class WireAnswer(msgspec.Struct):
    """
    A plain answer.
    """

    choices: list[WireChoice] | None = None
    model: str | None = None
    usage: Any = None
    """Only shown, so that its shape breaks no answer."""

    error: Any = None


class WireChunk(msgspec.Struct):
    """
    A chunk of a stream.
    """

    id: str | None = None
    """Of the answer, in all chunks the same; some servers leave it out of some."""

    choices: list[WireChunkChoice] | None = None
    model: str | None = None
    usage: Any = None
    """Only shown, so that its shape breaks no answer."""

    error: Any = None


class WireRun(msgspec.Struct):
    """
    A run, as answered when it is given a tool's output.
    """

    id: str | None = None
    status: str | None = None
    error: Any = None


_ANSWERS = msgspec.json.Decoder(WireAnswer)
_CHUNKS = msgspec.json.Decoder(WireChunk)
_RUNS = msgspec.json.Decoder(WireRun)
_ANYTHING = msgspec.json.Decoder()


def decode_answer(body: bytes) -> WireAnswer:
    """
    Return a plain answer.

    Raises:
        UpstreamProtocolError: It is no JSON, or of another shape.
    """
    return _decode(_ANSWERS, body)


def decode_chunk(data: str) -> WireChunk:
    """
    Return the chunk that an event of the stream carries.

    Raises:
        UpstreamProtocolError: It is no JSON, or of another shape.
    """
    return _decode(_CHUNKS, data)


def decode_run(body: bytes) -> WireRun:
    """
    Return the run that a submitted output belongs to.

    Raises:
        UpstreamProtocolError: It is no JSON, or of another shape.
    """
    return _decode(_RUNS, body)


def decode_error(
    body: bytes,
    *,
    status: int,
    retry_after_s: float | None = None,
    should_retry: bool | None = None,
    request_id: str | None = None,
) -> UpstreamStatusError:
    """
    Return what an answer with an error status says; a body of any kind will do.
    """
    try:
        decoded = _ANYTHING.decode(body)
    except (ValueError, RecursionError):
        # Pages and texts of proxies tell nothing that the status does not.
        decoded = None
    facts = decoded.get("error") if isinstance(decoded, dict) else None
    return status_error(
        facts,
        status=status,
        retry_after_s=retry_after_s,
        should_retry=should_retry,
        request_id=request_id,
    )


def status_error(
    facts: Any,
    *,
    status: int,
    retry_after_s: float | None = None,
    should_retry: bool | None = None,
    request_id: str | None = None,
) -> UpstreamStatusError:
    """
    Return the error that an ``error`` object stands for, however little it says.
    """
    if isinstance(facts, str):
        facts = {"message": facts}
    known = facts if isinstance(facts, dict) else {}
    return UpstreamStatusError(
        status=status,
        error_type=_word(known.get("type")),
        code=_word(known.get("code")),
        message=_word(known.get("message")) or "",
        retry_after_s=retry_after_s,
        should_retry=should_retry,
        request_id=request_id,
    )


def _word(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _decode(decoder: msgspec.json.Decoder[DecodedT], text: bytes | str) -> DecodedT:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise UpstreamProtocolError(
            reason=Breakage.WRONG_SHAPE, detail=str(error)
        ) from error
    except UnicodeDecodeError as error:
        raise UpstreamProtocolError(
            reason=Breakage.INVALID_UTF8, detail="in JSON"
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamProtocolError(
            reason=Breakage.MALFORMED_JSON, detail=str(error)
        ) from error
