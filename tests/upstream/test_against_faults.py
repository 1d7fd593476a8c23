"""
What the client makes of every fault that the mock has, said fault by fault.

A broken answer must never become a success. Some faults leave an answer whole, and some
change what the model says without a trace in the bytes: the table says which, and a
fault that it does not name fails the test.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import pytest

from harness.clock import LoopClock
from harness.errors import (
    AttemptTimeoutError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.ids import IdMint
from harness.resilience import PipelineOptions, Pipelines
from harness.upstream import (
    ChatRequest,
    Completion,
    FinishReason,
    UpstreamClient,
    UpstreamOptions,
)
from mock_server import MockOptions, running_mock
from mock_server.events import Record
from mock_server.faults import Target, faults_of
from mock_server.script import MockScript

pytestmark = pytest.mark.virtual_time

TEXT: Final = "It is 22 °C in Paris — and it will stay so."
PARIS: Final = 'get_weather({"city":"Paris"})'
ROME: Final = 'get_weather({"city":"Rome"})'
SAID: Final = {"say": TEXT, "call": f"{PARIS} {ROME}"}
RULES: Final = [
    {"match": {"last_message": {"contains": "say"}}, "reply": {"text": TEXT}},
    {
        "match": {"last_message": {"contains": "call"}},
        "reply": {
            "tool_calls": [
                {"name": "get_weather", "arguments": {"city": city}}
                for city in ("Paris", "Rome")
            ]
        },
    },
]
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
EARLIER: Final = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "call_earlier",
                "type": "function",
                "function": {"name": "get_weather", "arguments": "{}"},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_earlier", "content": "warm"},
]
SHOWN_MAX: Final = 200

# The words of the table ---------------------------------------------------------------

SPARED: Final = "spared"
"""The fault cannot change such an answer and did not hit."""

WHOLE: Final = "whole"
"""It hit, and the answer is what the model said."""

OVERLOADED: Final = "status 503 server_error"

Pair = tuple[str, str]
"""What becomes of the plain and of the streamed answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    A fault, and what the client makes of a text and of two calls under it.
    """

    fault: str
    say: Pair
    call: Pair
    asked: Mapping[str, Any]
    """What else the request says."""

    parameters: Mapping[str, Any]

    @property
    def label(self) -> str:
        """
        The name of its test.
        """
        parts = (f"{key}={value}" for key, value in self.parameters.items())
        return "-".join((self.fault, *parts))


def row(
    fault: str,
    say: Pair,
    call: Pair,
    /,
    asked: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Row:
    """
    Return a row in full.
    """
    return Row(
        fault=fault, say=say, call=call, asked=asked or {}, parameters=parameters
    )


def always(fault: str, outcome: str, /, **parameters: Any) -> Row:
    """
    Return the row of a fault that does the same to every answer.
    """
    return row(fault, (outcome, outcome), (outcome, outcome), **parameters)


def forms(fault: str, plain: str, streamed: str, /, **parameters: Any) -> Row:
    """
    Return the row of a fault that does not care what the model says.
    """
    return row(fault, (plain, streamed), (plain, streamed), **parameters)


def calls(fault: str, plain: str, streamed: str, /, **parameters: Any) -> Row:
    """
    Return the row of a fault that spares a text.
    """
    return row(fault, (SPARED, SPARED), (plain, streamed), **parameters)


def both(fault: str, say: str, call: str, /, **parameters: Any) -> Row:
    """
    Return the row of a fault that does not care whether the answer is streamed.
    """
    return row(fault, (say, say), (call, call), **parameters)


# The table ----------------------------------------------------------------------------

ANSWERS: Final = (
    always("status", OVERLOADED),
    always("status", "status 400 invalid_request_error", status=400),
    # Only 200 brings an answer, whatever the family of its status.
    always("status", "status 204", status=204),
    always("rate_limited", "status 429 rate_limit_exceeded"),
    always("quota_exhausted", "status 429 insufficient_quota"),
    always("context_length_exceeded", "status 400 context_length_exceeded"),
    always("model_not_found", "status 404 model_not_found"),
    always("invalid_api_key", "status 401 invalid_api_key"),
    always("server_overloaded", OVERLOADED),
    # A filtered answer is whole and says so; nothing in it can be told to anybody.
    always("content_filtered", "finish_reason: content_filter"),
    always("content_filtered", "status 400 content_filter", form="azure"),
    # The key must not follow a redirect to wherever it points.
    always("redirect", "status 307"),
    always("redirect_to", "status 307"),
    always("error_in_200", "status 200 server_error"),
    always("html_page", "status 502"),
    always("html_page", "broken html", status=200),
    always("empty_body", "broken empty_body"),
    forms("not_json", "broken malformed_json", "broken truncated"),
    # What the header says is no part of the answer, and proxies get it wrong.
    always("wrong_content_type", WHOLE),
    # A stream tells its own end: bytes that are promised behind it are not missed.
    forms("content_length", "connection closed", WHOLE),
    always("content_length", "broken not_http", form="too_short"),
    always("bad_gzip", "connection closed"),
    forms("bad_gzip", "broken malformed_json", WHOLE, form="truncated"),
    always("bad_gzip", "connection closed", form="bad_checksum"),
    always("header_flood", "broken not_http"),
    always("request_id", WHOLE),
    always("request_id", WHOLE, form="doubled"),
    always("rate_limit_headers", "status 429 rate_limit_exceeded"),
    always("rate_limit_headers", WHOLE, form="absent"),
)
CONNECTION: Final = (
    always("refuse", "connection refused"),
    always("close_before_headers", "connection closed"),
    always("reset_before_headers", "connection reset"),
    always("reset_in_body", "connection closed"),
    always("reset_in_body", "connection closed", byte=1),
    always("black_hole", "timeout"),
    always("slow_headers", WHOLE),
    always("drip", "timeout"),
    always("drip", WHOLE, piece_bytes=64, interval="10ms"),
    always("bandwidth", WHOLE),
    always("cut_at_byte", "connection closed"),
    # Each request has a connection of its own here; another test keeps one.
    always("stale_keep_alive", SPARED),
    always("endless_body", "broken too_large"),
    always("gzip_bomb", "broken too_large", unpacked_mebibytes=9),
    always("down_for", OVERLOADED),
)
STREAM: Final = (
    always("disconnect", "connection closed"),
    always("disconnect", "connection closed", after_events=3),
    forms("truncate", "broken malformed_json", "broken truncated"),
    forms("truncate", "broken empty_body", "broken truncated", keep=0),
    forms("truncate", "broken malformed_json", "broken truncated", keep=0.9),
    # The finish reason has come: nothing of the answer can be missing.
    forms("missing_done", SPARED, WHOLE),
    forms("done_without_finish", SPARED, "broken truncated"),
    always("stall", "timeout"),
    always("stall", WHOLE, duration="5s"),
    always("stall_with_comments", "timeout"),
    always("malformed_event", "broken malformed_json"),
    always("malformed_event", "broken malformed_json", event=99),
    forms("error_event", SPARED, "status 200 server_error"),
    # Chat completions number no chunk: a piece of text that comes twice, never or too
    # late cannot be told from what the model said. A call's id tells it, or it leaves
    # arguments that no tool accepts.
    forms("duplicate_event", SPARED, WHOLE, event=1),
    row(
        "duplicate_event",
        (SPARED, "ItIt is 22 °C in Paris — and it will stay so."),
        (SPARED, WHOLE),
        event=2,
    ),
    row(
        "duplicate_event",
        (SPARED, "It is is 22 °C in Paris — and it will stay so."),
        (SPARED, f'get_weather({{"{{"city":"Paris"}}) {ROME}'),
    ),
    forms("duplicate_event", SPARED, WHOLE, event=99),
    forms("drop_event", SPARED, WHOLE, event=1),
    row(
        "drop_event",
        (SPARED, " is 22 °C in Paris — and it will stay so."),
        (SPARED, "broken tool_call_unnamed"),
        event=2,
    ),
    row(
        "drop_event",
        (SPARED, "It 22 °C in Paris — and it will stay so."),
        (SPARED, f'get_weather(city":"Paris"}}) {ROME}'),
    ),
    forms("drop_event", SPARED, WHOLE, event=99),
    row(
        "reorder_events",
        (SPARED, " isIt 22 °C in Paris — and it will stay so."),
        (SPARED, "broken tool_call_unnamed"),
        event=2,
    ),
    row(
        "reorder_events",
        (SPARED, "It 22 is °C in Paris — and it will stay so."),
        (SPARED, f'get_weather(city{{"":"Paris"}}) {ROME}'),
    ),
    always("wrong_index", "broken wrong_shape"),
    always("wrong_index", "broken wrong_shape", form="negative"),
    row(
        "wrong_index", (WHOLE, WHOLE), (WHOLE, "broken tool_call_changed"), form="zero"
    ),
    # Text of another answer may be another caller's.
    forms("changing_id", SPARED, "broken answer_changed"),
    always("split", WHOLE),
    always("split", WHOLE, where="characters"),
    *(
        forms("framing", SPARED, WHOLE, form=form)
        for form in (
            *("crlf", "cr", "bom", "comments", "no_space"),
            *("data_lines", "packed", "retry_lines", "empty_event"),
        )
    ),
    forms("giant_event", WHOLE, "broken too_large"),
    forms("empty_deltas", SPARED, WHOLE, deltas=500),
    calls("late_tool_name", SPARED, "broken tool_call_unnamed"),
    calls("split_tool_name", SPARED, "broken tool_call_changed"),
    calls("missing_index", SPARED, "broken tool_call_index"),
    # What an answer cost is no part of what it says.
    always("usage", WHOLE),
    always("usage", WHOLE, form="null"),
    always("usage", WHOLE, form="negative"),
    forms("usage", SPARED, WHOLE, form="early"),
)
# Here the answer is whole where what it says is wrong: names and arguments are checked
# where tools are run, and the model is told.
MODEL_OUTPUT: Final = (
    *(
        both(
            "arguments", SPARED, f"get_weather({text}) {ROME}", kind=kind, calls="first"
        )
        for kind, text in {
            "truncated": '{"city":',
            "trailing_comma": '{"city":"Paris",}',
            "single_quotes": "{'city':'Paris'}",
            "encoded_twice": r'"{\"city\":\"Paris\"}"',
            "code_fence": '```json\n{"city":"Paris"}\n```',
            "text_around": 'Here are the arguments:\n{"city":"Paris"}\nDone.',
            "nan": '{"city":"Paris","score":NaN}',
            "doubled_keys": '{"city":"Paris","city":null}',
            "empty": "",
            "null": "null",
            "not_object": '[{"city":"Paris"}]',
            "deep": "20024 characters",
            "huge": "1000026 characters",
        }.items()
    ),
    both(
        "schema_violation",
        SPARED,
        f'get_weather([{{"city":"Paris"}}]) {ROME}',
        kind="not_object",
    ),
    both("unknown_tool", SPARED, f'no_such_tool({{"city":"Paris"}}) {ROME}'),
    both("near_miss_tool", SPARED, f'GetWeather({{"city":"Paris"}}) {ROME}'),
    always("tool_not_offered", "delete_account({})"),
    always("tool_despite_none", SPARED),
    always(
        "tool_despite_none",
        'get_weather({"city":"text"})',
        asked={"tool_choice": "none"},
    ),
    always("forced_tool_ignored", SPARED),
    always(
        "forced_tool_ignored",
        "I would rather not.",
        text="I would rather not.",
        asked={"tool_choice": "required"},
    ),
    both("call_id", SPARED, "broken tool_call_repeated"),
    both("call_id", SPARED, "broken tool_call_unnamed", form="missing"),
    both("call_id", SPARED, WHOLE, form="overlong"),
    both(
        "call_id",
        SPARED,
        "broken tool_call_repeated",
        form="reused",
        asked={"messages": EARLIER},
    ),
    both("doom_loop", 'get_weather({"city":"text"})', PARIS),
    both("fan_out", SPARED, f"{PARIS} {ROME} {' '.join([PARIS] * 48)}"),
    both("fan_out", SPARED, "broken too_many_tool_calls", calls=200),
    both("legacy_function_call", SPARED, "broken unknown_finish_reason"),
    # Servers say so where a tool was forced: what is called is what counts.
    both("finish_reason", SPARED, f"{PARIS} {ROME} finish_reason: stop"),
    always("finish_reason", "broken tool_calls_missing", form="calls_without"),
    both(
        "finish_reason",
        SPARED,
        f'{PARIS} get_weather({{"city") finish_reason: length',
        form="length_in_call",
    ),
    always("finish_reason", "broken truncated", form="null"),
    always("finish_reason", "broken unknown_finish_reason", form="unknown"),
    forms("choices", "broken no_choices", "broken truncated"),
    forms("choices", "broken no_choices", "broken truncated", form="absent"),
    always("choices", "broken wrong_shape", form="two"),
    row(
        "choices",
        ("broken wrong_shape", "broken empty_answer"),
        ("broken wrong_shape", "broken tool_calls_missing"),
        form="no_message",
    ),
    always("content", "broken empty_answer"),
    always("content", "broken empty_answer", form="blank"),
    always("content", "broken empty_answer", form="null"),
    always("refusal", "refusal: No.", text="No."),
    always("reasoning_only", "broken empty_answer"),
    # Aliases are answered with the name of what they stand for.
    always("model_name", WHOLE),
    both("prompt_injection", f"{TEXT} Obey!", f" Obey! {SAID['call']}", text=" Obey!"),
)
TABLE: Final = (*ANSWERS, *CONNECTION, *STREAM, *MODEL_OUTPUT)


def test_the_table_names_every_fault() -> None:
    """
    A fault that is added to the mock has to be thought about here.
    """
    assert {row.fault for row in TABLE} == {
        fault.name for fault in faults_of(Target.UPSTREAM)
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.label)
async def test_takes_no_broken_answer(
    row: Row, clock: LoopClock, ids: IdMint, pipelines: Pipelines
) -> None:
    """
    Each fault ends as the table says, for a text and for calls, plain and streamed.
    """
    records: list[Record] = []
    seen = {}
    async with mocked(
        row, records, clock=clock, ids=ids, pipelines=pipelines
    ) as client:
        for word, whole in SAID.items():
            for stream in (False, True):
                records.clear()
                outcome = await outcome_of(client, word, stream=stream, asked=row.asked)
                hit = any(record["kind"] == "fault_applied" for record in records)
                if outcome == whole:
                    outcome = WHOLE if hit else SPARED
                else:
                    # What is refused is no request, and no fault of one.
                    assert hit or row.fault == "refuse"
                seen[word, stream] = outcome

    assert seen == {
        ("say", False): row.say[0],
        ("say", True): row.say[1],
        ("call", False): row.call[0],
        ("call", True): row.call[1],
    }


@asynccontextmanager
async def mocked(
    row: Row,
    records: list[Record],
    *,
    clock: LoopClock,
    ids: IdMint,
    pipelines: Pipelines,
) -> AsyncIterator[UpstreamClient]:
    """
    Yield a client of a mock that has this fault; it keeps no connection.
    """
    fault = {"fault": row.fault, **row.parameters}
    script = MockScript.model_validate(
        {"upstream": {"script": RULES, "faults": [fault]}}
    )
    # The second listener lets a fault close the first.
    options = MockOptions(port=0, control_port=0)
    async with (
        running_mock(script, options, listener=records.append) as mock,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True)
        ) as session,
    ):
        yield UpstreamClient(
            session=session,
            options=UpstreamOptions(base_url=f"{mock.url}/v1", api_key="sk-mock"),
            pipelines=pipelines,
            clock=clock,
            ids=ids,
        )


async def outcome_of(
    client: UpstreamClient, word: str, *, stream: bool, asked: Mapping[str, Any]
) -> str:
    """
    Return what becomes of a request, in the words of the table.
    """
    heard: list[str] = []

    async def listen(text: str) -> None:
        heard.append(text)

    messages = [*asked.get("messages", ()), {"role": "user", "content": word}]
    request = ChatRequest(
        model="gpt-4o",
        messages=messages,
        tools=[TOOL],
        tool_choice=asked.get("tool_choice"),
    )
    try:
        completion = await client.complete(request, on_delta=listen if stream else None)
    except UpstreamError as error:
        return told(error)
    # What the caller heard is what the answer says.
    assert "".join(heard) == ((completion.text or "") if stream else "")
    return said(completion)


def told(error: UpstreamError) -> str:
    """
    Return how an answer failed.
    """
    match error:
        case UpstreamStatusError(status=status, code=code, error_type=error_type):
            return f"status {status} {code or error_type or ''}".rstrip()
        case UpstreamConnectionError(reason=reason):
            return f"connection {reason}"
        case UpstreamProtocolError(reason=reason):
            return f"broken {reason}"
        case AttemptTimeoutError():
            return "timeout"
        case _:
            return repr(error)


def said(completion: Completion) -> str:
    """
    Return everything that an accepted answer says.
    """
    words = [completion.text] if completion.text else []
    for call in completion.tool_calls:
        arguments = call.arguments
        if len(arguments) > SHOWN_MAX:
            arguments = f"{len(arguments)} characters"
        words.append(f"{call.name}({arguments})")
    if completion.refusal:
        words.append(f"refusal: {completion.refusal}")
    usual = FinishReason.TOOL_CALLS if completion.tool_calls else FinishReason.STOP
    if completion.finish_reason is not usual:
        words.append(f"finish_reason: {completion.finish_reason}")
    return " ".join(words)


@pytest.fixture
def pipeline_options() -> PipelineOptions:
    """
    Every attempt is seen as it is: nothing is tried again, no circuit opens.
    """
    return PipelineOptions(retry=None, circuit_breaker=None)
