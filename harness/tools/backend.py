"""
Tools that another server runs: ``POST {base}/tools/{name}``.

An execution is asked for once. Its idempotency key lets the backend recognise a
repetition after a crash; doing it again by itself is nobody's right here.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from harness.clock import Clock
from harness.errors import ToolFailedError, ToolTimeoutError, UsageError, check_options
from harness.ids import IdMint
from harness.tools.model import (
    Deferred,
    ToolAnswer,
    ToolContext,
    ToolFunction,
    ToolResult,
)

_MESSAGE_CHARACTERS_MAX: Final = 200
_HEADER_CHARACTERS_MAX: Final = 1000
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBackendOptions:
    """
    How long the backend may take and how much is taken from it.
    """

    timeout_s: float = 30.0
    """How long one execution may take."""

    answer_bytes_max: int = 256 * 1024
    """A longer answer fails the call."""

    def __post_init__(self) -> None:
        check_options(
            self,
            timeout_s=self.timeout_s > 0,
            answer_bytes_max=self.answer_bytes_max > 0,
        )


_DEFAULTS: Final = ToolBackendOptions()


class ToolBackend:
    """
    Runs tools on another server.

    Args:
        session: Whose connections are used; it stays the caller's.
        base_url: The tools are at ``{base_url}/tools/{name}``.
        clock: Bounds how long an execution takes.
        ids: Mints the span ids of ``traceparent``.
        options: How long and how much.

    Raises:
        UsageError: The address is none of the web.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        base_url: str,
        clock: Clock,
        ids: IdMint,
        options: ToolBackendOptions = _DEFAULTS,
    ) -> None:
        self._session = session
        self._options = options
        self._clock = clock
        self._ids = ids
        self._tools = _web_address(base_url) / "tools"

    async def run(
        self, tool: str, arguments: dict[str, Any], context: ToolContext
    ) -> ToolAnswer:
        """
        Run a tool once.

        Raises:
            ToolFailedError: The backend could not be reached or did not run it.
            ToolTimeoutError: It did not answer in time.
        """
        timeout = self._clock.timeout(self._options.timeout_s)
        try:
            async with timeout:
                return await self._exchange(tool, arguments, context)
        except TimeoutError as error:
            if not timeout.expired():
                raise ToolFailedError(tool=tool, reason="connection error") from error
            raise ToolTimeoutError(
                tool=tool, timeout_s=self._options.timeout_s
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ToolFailedError(
                tool=tool, reason=f"connection error ({type(error).__name__})"
            ) from error

    async def _exchange(
        self, tool: str, arguments: dict[str, Any], context: ToolContext
    ) -> ToolAnswer:
        async with self._session.post(
            self._tools / tool,
            data=orjson.dumps(arguments),
            headers=self._headers(context),
            allow_redirects=False,
            raise_for_status=False,
            timeout=_NO_TIMEOUT,
        ) as response:
            try:
                body = await self._read(tool, response)
            except BaseException:
                # What is left of the answer would arrive in the next one's place.
                response.close()
                raise
        match response.status:
            case HTTPStatus.OK:
                return ToolResult(_parse_result(tool, body))
            case HTTPStatus.ACCEPTED:
                return Deferred()
            case status:
                raise ToolFailedError(
                    tool=tool, reason=_describe_failure(status, body), status=status
                )

    def _headers(self, context: ToolContext) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Idempotency-Key": _header_text(context.tool_call_id),
        }
        if context.trace_id is not None:
            span_id = self._ids.span_id()
            headers["traceparent"] = f"00-{context.trace_id}-{span_id}-01"
        if context.deadline is not None:
            headers["X-Deadline-Ms"] = str(context.deadline.remaining_ms())
        return headers

    async def _read(self, tool: str, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for fragment in response.content.iter_any():
            body += fragment
            if len(body) > self._options.answer_bytes_max:
                raise ToolFailedError(
                    tool=tool,
                    reason=f"its answer has more than {self._options.answer_bytes_max} bytes",
                    status=response.status,
                )
        return bytes(body)


def backend_function(backend: ToolBackend, tool: str) -> ToolFunction:
    """
    Return what runs a tool on a backend.
    """

    async def run(arguments: dict[str, Any], context: ToolContext) -> ToolAnswer:
        return await backend.run(tool, arguments, context)

    return run


def _header_text(text: str) -> str:
    # The model invents the ids, and not every one of them fits a header.
    fits = text.isascii() and text.isprintable() and text == text.strip()
    return (text if fits else quote(text))[:_HEADER_CHARACTERS_MAX]


def _parse_result(tool: str, body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ToolFailedError(
            tool=tool, reason="its answer is not JSON", status=HTTPStatus.OK
        ) from error


def _describe_failure(status: int, body: bytes) -> str:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    error = decoded.get("error") if isinstance(decoded, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    if not isinstance(message, str):
        return f"it answered {status}"
    return f"it answered {status}: {message[:_MESSAGE_CHARACTERS_MAX]}"


def _web_address(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        message = f"{text!r} is no address of a tool backend"
        raise UsageError(message)
    return url
