"""
The callers: arrivals sent at their intended times, whatever became of earlier ones.

The workload is open: call *n* does not wait for call *n - 1*. Latency counts from the
intended start; what could not be sent is dropped, and counted as that.
"""

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urljoin

import aiohttp
import orjson
from yarl import URL

from harness.clock import Clock
from harness.errors import check_options
from harness.scenario import Arrival

ANSWER_CHARS_MAX = 200
"""How much of an answer stands in the event log; its hash covers all of it."""

_ANSWER_BYTES_MAX = 4 * 1024 * 1024
_SAMPLE_INTERVAL_S = 1.0
_POLL_FIRST_S = 0.1
_POLL_MAX_S = 1.0
_OK = 200
_ACCEPTED = 202
_REFUSED = frozenset({429, 503})


class Recorder(Protocol):
    """
    Where the caller's records go.
    """

    def record(self, kind: str, *, trace_id: str | None = None, **fields: Any) -> None:
        """
        Add a record, stamped with the present time.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """
    How the service under test is called.
    """

    base_url: str
    chat_path: str = "/chat"
    body: Mapping[str, Any] = field(
        default_factory=lambda: {"message": "{message}", "user_id": "{user}"}
    )
    """The JSON body; ``{message}`` and ``{user}`` are filled in in every text."""

    answer_field: str = "response"
    """Where the answer's text stands in the body."""

    in_flight_max: int = 1000
    """More calls at once than this are dropped."""

    call_timeout_s: float = 150.0
    """When a caller gives up; also how long an asynchronous chat is asked for."""

    def __post_init__(self) -> None:
        check_options(
            self,
            base_url=self.base_url.startswith(("http://", "https://")),
            in_flight_max=self.in_flight_max >= 1,
            call_timeout_s=self.call_timeout_s > 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """
    What a call came to.
    """

    outcome: str
    status: int | None = None
    error_code: str | None = None
    answer: str | None = None
    function_calls: list[dict[str, Any]] | None = None


class Driver:
    """
    Sends a schedule of arrivals and records what became of each.

    Args:
        options: How the service is called.
        session: Carries the calls; its connector must not limit them.
        log: Where records go.
        clock: Time.
        spans: The random stream that span ids come from.
    """

    def __init__(
        self,
        options: DriverOptions,
        *,
        session: aiohttp.ClientSession,
        log: Recorder,
        clock: Clock,
        spans: random.Random,
    ) -> None:
        self._options = options
        self._chat_url = URL(urljoin(options.base_url, options.chat_path))
        self._session = session
        self._log = log
        self._clock = clock
        self._spans = spans
        self._in_flight = 0
        self._dropped = 0
        self._stirred = asyncio.Event()
        self._lag_max_s = 0.0
        self._zero_s = 0.0

    async def run(self, arrivals: Sequence[Arrival], *, zero_s: float) -> None:
        """
        Send every arrival at its time and return when all have ended.

        Args:
            arrivals: In the order of their intended times.
            zero_s: Scenario time zero, on the clock's scale.
        """
        self._zero_s = zero_s
        async with asyncio.TaskGroup() as watch:
            sampling = watch.create_task(self._sample(), name="sample the generator")
            try:
                async with asyncio.TaskGroup() as calls:
                    for arrival in arrivals:
                        await self._wait_until(zero_s + arrival.intended_s)
                        self._offer(arrival, calls)
            finally:
                sampling.cancel()
        self._record_sample()

    async def _wait_until(self, when_s: float) -> None:
        delay_s = when_s - self._clock.monotonic()
        if delay_s > 0:
            await self._clock.sleep(delay_s)

    def _offer(self, arrival: Arrival, calls: asyncio.TaskGroup) -> None:
        self._stirred.set()
        self._log.record(
            "call_offered",
            trace_id=arrival.trace_id,
            call_id=arrival.call_id,
            intended_us=round(arrival.intended_s * 1e6),
            mode=arrival.mode,
            tag=arrival.tag,
        )
        if self._in_flight >= self._options.in_flight_max:
            self._dropped += 1
            self._log.record(
                "call_dropped",
                trace_id=arrival.trace_id,
                call_id=arrival.call_id,
                reason="in_flight_max",
            )
            return
        self._in_flight += 1
        calls.create_task(self._call(arrival), name=arrival.call_id)

    async def _call(self, arrival: Arrival) -> None:
        started_s = self._clock.monotonic()
        lag_s = max(0.0, started_s - self._zero_s - arrival.intended_s)
        self._lag_max_s = max(self._lag_max_s, lag_s)
        self._log.record(
            "call_started",
            trace_id=arrival.trace_id,
            call_id=arrival.call_id,
            lag_us=round(lag_s * 1e6),
        )
        ending = _Ending(outcome="unknown", error_code="interrupted")
        try:
            async with self._clock.timeout(self._options.call_timeout_s):
                ending = await self._ask(arrival)
        except TimeoutError:
            ending = _Ending(outcome="failed", error_code="caller_timeout")
        except aiohttp.ClientConnectorError:
            ending = _Ending(outcome="failed", error_code="connection_refused")
        except aiohttp.ClientError:
            # The request may have had its effect: nobody can tell from here.
            ending = _Ending(outcome="unknown", error_code="connection_broken")
        finally:
            self._in_flight -= 1
            self._stirred.set()
            self._record_ending(arrival, ending, started_s=started_s)

    async def _ask(self, arrival: Arrival) -> _Ending:
        headers = {
            "Content-Type": "application/json",
            "traceparent": f"00-{arrival.trace_id}-{self._spans.getrandbits(64):016x}-01",
        }
        if arrival.mode == "async":
            headers["Prefer"] = "respond-async"
        elif arrival.mode == "stream":
            headers["Accept"] = "text/event-stream"
        body = orjson.dumps(
            _filled(self._options.body, message=arrival.message, user=arrival.user_id)
        )
        async with self._session.post(
            self._chat_url, data=body, headers=headers
        ) as response:
            content = await _read_bounded(response.content)
            status, content_type = response.status, response.content_type
        if status == _ACCEPTED:
            return await self._follow(arrival, _json_object(content))
        if content_type == "text/event-stream":
            return self._judge_stream(status, content)
        return self._judge(status, _json_object(content))

    async def _follow(self, arrival: Arrival, accepted: dict[str, Any]) -> _Ending:
        """
        Ask for the state of an accepted chat until it has ended.
        """
        self._log.record(
            "call_accepted",
            trace_id=arrival.trace_id,
            call_id=arrival.call_id,
            callback_id=accepted.get("callback_id"),
            status=_ACCEPTED,
        )
        status_url = accepted.get("status_url")
        if not isinstance(status_url, str):
            return _Ending(
                outcome="failed", status=_ACCEPTED, error_code="no_status_url"
            )
        url = urljoin(self._options.base_url, status_url)
        delay_s = _POLL_FIRST_S
        while True:
            await self._clock.sleep(delay_s)
            delay_s = min(delay_s * 1.5, _POLL_MAX_S)
            try:
                async with self._session.get(url) as response:
                    state = _json_object(await response.read())
                    status = response.status
            except aiohttp.ClientError:
                # A service that is being restarted; the caller's timeout bounds this.
                continue
            match state.get("state"):
                case "completed":
                    return self._judge(_OK, _as_object(state.get("result")))
                case "failed" | "cancelled" | "expired" as ended:
                    code = _as_object(state.get("error")).get("code", ended)
                    return _Ending(
                        outcome="failed", status=status, error_code=str(code)
                    )
                case "pending":
                    continue
                case _:
                    return _Ending(
                        outcome="failed", status=status, error_code="bad_callback_state"
                    )

    def _judge(self, status: int, body: dict[str, Any]) -> _Ending:
        if status != _OK:
            code = _as_object(body.get("error")).get("code")
            return _Ending(
                outcome="refused" if status in _REFUSED else "failed",
                status=status,
                error_code=str(code) if code else f"status_{status}",
            )
        answer = body.get(self._options.answer_field)
        if not isinstance(answer, str):
            return _Ending(outcome="failed", status=status, error_code="no_answer")
        calls = body.get("function_calls")
        return _Ending(
            outcome="answered",
            status=status,
            answer=answer,
            function_calls=_summaries(calls) if isinstance(calls, list) else None,
        )

    def _judge_stream(self, status: int, content: bytes) -> _Ending:
        """
        Judge an answer that came as server-sent events by its last event.
        """
        events = content.decode(errors="replace").strip().split("\n\n")
        name, data = "", b""
        for line in events[-1].splitlines():
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data = line[5:].strip().encode()
        if name == "done":
            return self._judge(status, _json_object(data))
        code = "stream_cut"
        if name == "error":
            error = _json_object(data)
            code = str(_as_object(error.get("error", error)).get("code", "error"))
        return _Ending(outcome="failed", status=status, error_code=code)

    def _record_ending(
        self, arrival: Arrival, ending: _Ending, *, started_s: float
    ) -> None:
        ended_s = self._clock.monotonic()
        intended_s = self._zero_s + arrival.intended_s
        answer = ending.answer
        self._log.record(
            "call_ended",
            trace_id=arrival.trace_id,
            call_id=arrival.call_id,
            mode=arrival.mode,
            intended_us=round(arrival.intended_s * 1e6),
            outcome=ending.outcome,
            status=ending.status,
            error_code=ending.error_code,
            latency_us=round((ended_s - intended_s) * 1e6),
            service_us=round((ended_s - started_s) * 1e6),
            answer=None if answer is None else answer[:ANSWER_CHARS_MAX],
            answer_sha256=None
            if answer is None
            else hashlib.sha256(answer.encode()).hexdigest(),
            function_calls=ending.function_calls,
        )

    async def _sample(self) -> None:
        """
        Record how it goes, every so often while anything goes on.
        """
        while True:
            await self._stirred.wait()
            await self._clock.sleep(_SAMPLE_INTERVAL_S)
            self._stirred.clear()
            self._record_sample()

    def _record_sample(self) -> None:
        self._log.record(
            "generator_sampled",
            lag_us_max=round(self._lag_max_s * 1e6),
            in_flight=self._in_flight,
            dropped=self._dropped,
        )
        self._lag_max_s = 0.0


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > _ANSWER_BYTES_MAX:
            message = f"an answer has at most {_ANSWER_BYTES_MAX} bytes"
            raise aiohttp.ClientPayloadError(message)
    return bytes(content)


def _filled(template: Any, *, message: str, user: str) -> Any:
    if isinstance(template, str):
        return template.replace("{message}", message).replace("{user}", user)
    if isinstance(template, Mapping):
        return {
            key: _filled(value, message=message, user=user)
            for key, value in template.items()
        }
    if isinstance(template, list | tuple):
        return [_filled(value, message=message, user=user) for value in template]
    return template


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        return _as_object(orjson.loads(content))
    except orjson.JSONDecodeError:
        return {}


def _as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _summaries(calls: list[Any]) -> list[dict[str, Any]]:
    summaries = []
    for call in map(_as_object, calls):
        result = call.get("result")
        is_error = isinstance(result, dict) and result.get("status") == "error"
        summaries.append({"name": call.get("name"), "ok": not is_error})
    return summaries
