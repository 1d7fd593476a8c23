"""
The client of the model API.

Every call goes through the pipeline of its destination, which alone decides about
retries, waits and refusals; here is what one attempt does.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from harness import __version__
from harness.clock import Clock
from harness.errors import LimitExceededError, UpstreamError, UsageError
from harness.events import current_trace_id
from harness.ids import IdMint, ToolCallId
from harness.resilience import Attempt, Deadline, Pipelines, parse_quota
from harness.upstream.chat_completions import (
    encode,
    encode_request,
    estimate_tokens,
    parse_answer,
    parse_submitted_output,
)
from harness.upstream.classify import ListenerError
from harness.upstream.model import ChatRequest, Completion, SubmittedOutput
from harness.upstream.options import UpstreamOptions
from harness.upstream.reading import (
    read_body,
    read_error,
    read_stream,
    request_id_of,
)
from harness.upstream.transport import TRANSPORT_ERRORS, explain, without_secret

OnDelta = Callable[[str], Awaitable[None]]
"""Takes a piece of the answer's text as soon as it is there."""

LISTENER_SHARE_MAX: Final = 0.5
"""A listener that takes more of an attempt's time ends the call, and is to blame."""

ReadT = TypeVar("ReadT")
_Read = Callable[[aiohttp.ClientResponse], Awaitable[ReadT]]

# The attempt timeout of the pipeline is the only one.
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)
_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"


class UpstreamClient:
    """
    Asks the model.

    Args:
        session: Whose connections are used; it stays the caller's.
        options: Where and how much.
        pipelines: How; the destination is ``upstream/<model>``.
        clock: Tells wall time to ``Retry-After`` and measures.
        ids: Mints the span ids of ``traceparent``.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        options: UpstreamOptions,
        pipelines: Pipelines,
        clock: Clock,
        ids: IdMint,
    ) -> None:
        self._session = session
        self._options = options
        self._pipelines = pipelines
        self._clock = clock
        self._ids = ids
        base_url = URL(options.base_url)
        self._chats = base_url / "chat/completions"
        self._outputs = base_url / "runs/submit-tool-outputs"

    async def complete(
        self,
        request: ChatRequest,
        *,
        deadline: Deadline | None = None,
        on_delta: OnDelta | None = None,
    ) -> Completion:
        """
        Return the model's answer to a request.

        Args:
            request: What is asked.
            deadline: When the whole call has to be over, retries included.
            on_delta: Given, the answer is streamed, and this is called with each piece
                of its text. From the first piece on the call is not repeated. What it
                raises ends the call and is raised here; so does taking more than half
                of the attempt's time.

        Raises:
            UpstreamError: The model API failed, and no retry was left or allowed.
            RejectedError: We refused to ask.
            DeadlineExceededError: The time was over.
            LimitExceededError: ``on_delta`` took too long.
            UsageError: The request has no form in JSON.
        """
        body = encode_request(request, stream=on_delta is not None)

        async def ask(attempt: Attempt) -> Completion:
            if on_delta is None:
                return await self._ask(body, attempt)
            return await self._ask_for_stream(body, attempt, on_delta)

        pipeline = self._pipelines.for_destination(f"upstream/{request.model}")
        try:
            return await pipeline.execute(
                ask,
                operation="chat_completion",
                deadline=deadline,
                tokens=estimate_tokens(request, body),
                # A stream would tell its listener everything twice; and what a tool
                # call sets off is done, whichever attempt asked for it.
                may_hedge=on_delta is None and not request.tools,
            )
        except ListenerError as error:
            raised = error.raised
        raise raised

    async def submit_tool_output(
        self,
        run_id: str,
        tool_call_id: ToolCallId,
        output: str,
        *,
        deadline: Deadline | None = None,
    ) -> SubmittedOutput:
        """
        Give a run the output of one of its tool calls, as JSON text.

        A repetition is harmless: run and call are its idempotency key.

        Raises:
            UpstreamError: The model API failed, and no retry was left or allowed.
            RejectedError: We refused to ask.
            DeadlineExceededError: The time was over.
        """
        body = encode(
            {"run_id": run_id, "tool_call_id": tool_call_id, "output": output}
        )

        async def read(response: aiohttp.ClientResponse) -> SubmittedOutput:
            answer = await read_body(response, bytes_max=self._options.answer_bytes_max)
            return parse_submitted_output(answer, run_id=run_id)

        async def submit(attempt: Attempt) -> SubmittedOutput:
            return await self._exchange(
                self._outputs, body, attempt, accept=_JSON, read=read
            )

        pipeline = self._pipelines.for_destination("upstream/runs")
        return await pipeline.execute(
            submit,
            operation="submit_tool_output",
            deadline=deadline,
            idempotency_key=quote(f"{run_id}/{tool_call_id}"),
        )

    async def _ask(self, body: bytes, attempt: Attempt) -> Completion:
        async def read(response: aiohttp.ClientResponse) -> Completion:
            answer = await read_body(response, bytes_max=self._options.answer_bytes_max)
            return parse_answer(answer)

        return await self._exchange(self._chats, body, attempt, accept=_JSON, read=read)

    async def _ask_for_stream(
        self, body: bytes, attempt: Attempt, on_delta: OnDelta
    ) -> Completion:
        listener = _Listener(on_delta, attempt=attempt, clock=self._clock)

        async def read(response: aiohttp.ClientResponse) -> Completion:
            return await read_stream(
                response,
                options=self._options,
                clock=self._clock,
                on_chunk=listener.take,
            )

        return await self._exchange(
            self._chats, body, attempt, accept=_EVENT_STREAM, read=read
        )

    async def _exchange(
        self,
        url: URL,
        body: bytes,
        attempt: Attempt,
        *,
        accept: str,
        read: _Read[ReadT],
    ) -> ReadT:
        failure: UpstreamError | UsageError
        try:
            async with self._session.post(
                url,
                data=body,
                headers=self._headers(attempt, accept),
                allow_redirects=False,
                raise_for_status=False,
                timeout=_NO_TIMEOUT,
            ) as response:
                try:
                    return await self._take(response, attempt, read)
                except BaseException:
                    # The peer is to see at once that nobody listens any more, and
                    # what it still sends must not meet the next request.
                    response.close()
                    raise
        except UpstreamError as error:
            failure = without_secret(error, self._options.api_key)
        except TRANSPORT_ERRORS as error:
            failure = explain(error)
        # Raised out here, so that what it was made from is not its context.
        try:
            raise failure
        finally:
            # It holds this frame, which holds it: apart they are freed at once.
            del failure

    async def _take(
        self, response: aiohttp.ClientResponse, attempt: Attempt, read: _Read[ReadT]
    ) -> ReadT:
        attempt.note(
            status=response.status,
            request_id=request_id_of(response),
            quota=parse_quota(response.headers),
        )
        if response.status != HTTPStatus.OK:
            raise await read_error(response, options=self._options, clock=self._clock)
        return await read(response)

    def _headers(self, attempt: Attempt, accept: str) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._options.api_key}",
            "Content-Type": _JSON,
            "Accept": accept,
            "User-Agent": f"toolcall-harness/{__version__}",
            "Idempotency-Key": attempt.idempotency_key,
        }
        trace_id = current_trace_id()
        if trace_id is not None:
            headers["traceparent"] = f"00-{trace_id}-{self._ids.span_id()}-01"
        if attempt.deadline is not None:
            headers["X-Deadline-Ms"] = str(attempt.deadline.remaining_ms())
        return headers


class _Listener:
    """
    Passes text on, and keeps a slow caller from looking like a slow upstream.
    """

    def __init__(self, on_delta: OnDelta, *, attempt: Attempt, clock: Clock) -> None:
        self._on_delta = on_delta
        self._attempt = attempt
        self._clock = clock
        self._started_s = clock.monotonic()
        self._timeout_s = (
            None
            if attempt.timeout_s is None
            else attempt.timeout_s * LISTENER_SHARE_MAX
        )
        self._listened_s = 0.0

    async def take(self, text: str) -> None:
        """
        Note the first chunk, and pass on what is not empty.

        Raises:
            ListenerError: The listener raised, or took too long in all.
        """
        started_s = self._clock.monotonic()
        if self._attempt.time_to_first_chunk_s is None:
            self._attempt.note(time_to_first_chunk_s=started_s - self._started_s)
        if not text:
            return
        self._attempt.commit()
        timeout = self._clock.timeout(self._left_s())
        try:
            async with timeout:
                await self._on_delta(text)
        except Exception as error:
            if timeout.expired() and self._timeout_s is not None:
                slow = LimitExceededError(
                    limit="listener_timeout_s", value=self._timeout_s
                )
                raise ListenerError(slow) from error
            raise ListenerError(error) from error
        self._listened_s += self._clock.monotonic() - started_s

    def _left_s(self) -> float | None:
        if self._timeout_s is None:
            return None
        return max(self._timeout_s - self._listened_s, 0.0)
