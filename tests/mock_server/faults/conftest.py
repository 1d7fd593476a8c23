"""
A mock with one fault, asked once.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from mock_server import LoopClock
from mock_server.events import Record
from mock_server.testing import RawAnswer, mock_in_test

TEXT_SCRIPT = """
upstream:
  script: [{reply: {text: "one two three four"}}]
  latency: {time_to_first_token: 1s, inter_token: 1s}
  faults: [%s]
"""
CALL_SCRIPT = """
upstream:
  script:
    - match: {turn: 1}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris, days: 3}}]}
    - reply: {text: "It is warm."}
  faults: [%s]
"""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "minLength": 2},
                    "days": {"type": "integer", "minimum": 1, "maximum": 7},
                    "unit": {"type": "string", "enum": ["C", "F"]},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]

Ask = Callable[..., Awaitable[RawAnswer]]


class Asker:
    """
    Runs a mock with a fault and asks it once.
    """

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self.records: list[Record] = []

    async def text(self, fault: str, *, stream: bool, **more: Any) -> RawAnswer:
        """
        Return the answer to a chat that is answered with four words.
        """
        return await self._ask(TEXT_SCRIPT % fault, stream=stream, **more)

    async def call(self, fault: str, *, stream: bool, **more: Any) -> RawAnswer:
        """
        Return the answer to a chat that is answered with a tool call.
        """
        more.setdefault("tools", TOOLS)
        return await self._ask(CALL_SCRIPT % fault, stream=stream, **more)

    async def _ask(self, script: str, *, stream: bool, **more: Any) -> RawAnswer:
        async with mock_in_test(script, clock=self._clock) as mock:
            wait_s = more.pop("wait_s", 1000)
            answer = await mock.chat(stream=stream, wait_s=wait_s, **more)
            await self._clock.sleep(1)
            self.records = list(mock.records)
            return answer

    @property
    def applied(self) -> list[str]:
        """
        The faults that hit.
        """
        return [r["fault"] for r in self.records if r["kind"] == "fault_applied"]


@pytest.fixture
def asker(clock: LoopClock) -> Asker:
    """
    Return one that asks.
    """
    return Asker(clock)


def _values(answer: RawAnswer) -> list[dict[str, Any]]:
    return [orjson.loads(event) for event in answer.events if event != b"[DONE]"]


@pytest.fixture
def values_of() -> Callable[[RawAnswer], list[dict[str, Any]]]:
    """
    Return what reads the objects of a stream.
    """
    return _values


def _message(answer: RawAnswer, *, stream: bool) -> dict[str, Any]:
    if not stream:
        message: dict[str, Any] = answer.json["choices"][0]["message"]
        return {**message, "finish_reason": answer.json["choices"][0]["finish_reason"]}
    whole: dict[str, Any] = {"content": None, "tool_calls": {}}
    for value in _values(answer):
        for choice in value.get("choices", ()):
            _add(whole, choice.get("delta", {}))
            whole["finish_reason"] = choice.get("finish_reason")
    whole["tool_calls"] = list(whole["tool_calls"].values())
    return whole


def _add(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    for key in ("content", "refusal", "reasoning_content"):
        if isinstance(delta.get(key), str):
            whole[key] = (whole.get(key) or "") + delta[key]
    for piece in delta.get("tool_calls", ()):
        call = whole["tool_calls"].setdefault(
            piece.get("index"), {"function": {"name": "", "arguments": ""}}
        )
        if "id" in piece:
            call["id"] = piece["id"]
        for key, text in piece.get("function", {}).items():
            call["function"][key] += text


@pytest.fixture
def message_of() -> Callable[..., dict[str, Any]]:
    """
    Return what puts a message together, from a body or from a stream.
    """
    return _message
