"""
Reading the body of an answer, within limits.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import aiohttp

from harness.clock import Clock
from harness.errors import UpstreamProtocolError, UpstreamStatusError
from harness.resilience import parse_retry_after
from harness.upstream.assembly import CompletionAssembler
from harness.upstream.chat_completions import check_is_json
from harness.upstream.model import Breakage, Completion
from harness.upstream.options import UpstreamOptions
from harness.upstream.sse import SseParser
from harness.upstream.transport import TRANSPORT_ERRORS
from harness.upstream.wire import decode_answer, decode_error, status_error

REQUEST_ID_CHARACTERS_MAX = 200
"""As much of ``x-request-id`` is kept."""

_OPENING_BYTES_MAX = 64 * 1024


def request_id_of(response: aiohttp.ClientResponse) -> str | None:
    """
    Return the peer's name for the exchange, if it gave one.
    """
    return response.headers.get("x-request-id", "")[:REQUEST_ID_CHARACTERS_MAX] or None


async def read_body(response: aiohttp.ClientResponse, *, bytes_max: int) -> bytes:
    """
    Return the whole body.

    Raises:
        UpstreamProtocolError: It has more bytes than allowed.
    """
    body = bytearray()
    async for fragment in response.content.iter_any():
        body += fragment
        _check_size(len(body), bytes_max)
    return bytes(body)


async def read_error(
    response: aiohttp.ClientResponse, *, options: UpstreamOptions, clock: Clock
) -> UpstreamStatusError:
    """
    Return what an answer with another status than 200 says.
    """
    headers = response.headers
    asked = parse_retry_after(headers, clock.wall())
    # The status and the headers are what matters; a body that is broken or does not
    # come takes nothing from them.
    try:
        async with clock.timeout(options.error_timeout_s):
            body = await read_body(response, bytes_max=options.error_bytes_max)
    except (UpstreamProtocolError, *TRANSPORT_ERRORS):
        body = b""
    return decode_error(
        body,
        status=response.status,
        retry_after_s=None if asked is None else asked.delay_s,
        should_retry={"true": True, "false": False}.get(
            headers.get("x-should-retry", "").strip().lower()
        ),
        request_id=request_id_of(response),
    )


async def read_stream(
    response: aiohttp.ClientResponse,
    *,
    options: UpstreamOptions,
    clock: Clock,
    on_chunk: Callable[[str], Awaitable[None]],
) -> Completion:
    """
    Return the completion that a stream amounts to.

    Args:
        response: Its head has come.
        options: The limits.
        clock: Bounds the wait for the end behind the last event.
        on_chunk: Called with the text of each chunk, which may be empty.

    Raises:
        UpstreamProtocolError: The stream is broken, or none.
        UpstreamStatusError: The stream reports an error; its status is 200.
    """
    parser = SseParser(event_bytes_max=options.event_bytes_max)
    assembler = CompletionAssembler()
    opening = bytearray()
    events = taken_bytes = 0
    async for fragment in response.content.iter_any():
        taken_bytes += len(fragment)
        _check_size(taken_bytes, options.answer_bytes_max)
        if not events:
            opening += fragment[: _OPENING_BYTES_MAX - len(opening)]
        for event in parser.feed(fragment):
            events += 1
            text = assembler.add(event.data)
            if not assembler.is_done:
                await on_chunk(text)
        if assembler.is_done:
            await _drain(response, options=options, clock=clock)
            break
    if not events:
        _refuse_other(bytes(opening))
    return assembler.finish()


def _refuse_other(opening: bytes) -> None:
    """
    Say what came in the place of a stream.
    """
    check_is_json(opening)
    if opening.lstrip().startswith(b"{"):
        answer = decode_answer(opening)
        if answer.error is not None:
            raise status_error(answer.error, status=HTTPStatus.OK)
        raise UpstreamProtocolError(reason=Breakage.NOT_A_STREAM)


async def _drain(
    response: aiohttp.ClientResponse, *, options: UpstreamOptions, clock: Clock
) -> None:
    """
    Wait a little for the end of a stream that said it is done.

    Its connection can be used again then; otherwise it is closed when it is released.
    Nothing that happens here takes anything from the answer, which is whole.
    """
    with suppress(*TRANSPORT_ERRORS):
        async with clock.timeout(options.drain_timeout_s):
            await response.content.readany()


def _check_size(taken_bytes: int, bytes_max: int) -> None:
    if taken_bytes > bytes_max:
        raise UpstreamProtocolError(
            reason=Breakage.TOO_LARGE, detail=f"more than {bytes_max} bytes"
        )
