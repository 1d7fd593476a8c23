"""
docs/script.md says all there is, and what it shows is what happens.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from mock_server import LoopClock
from mock_server.documents import parse_document
from mock_server.script import MockScript, script_of
from mock_server.script.engine import TEMPLATE_NAMES
from mock_server.script.model import UpstreamScript
from mock_server.script.rule import (
    ErrorScript,
    Match,
    ReplyScript,
    Rule,
    ToolCallScript,
    ToolResultMatch,
)
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

PAGE: Final = (Path(__file__).parents[3] / "docs" / "script.md").read_text("utf-8")
SCRIPTS: Final = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
DIALOGUES: Final = re.findall(
    r"```yaml\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL
)
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_one(script: str) -> None:
    """
    Each block is read without a mistake.
    """
    assert isinstance(script_of(parse_document(script, file="page")), MockScript)


@pytest.mark.parametrize(
    "model",
    [
        Match,
        ToolResultMatch,
        Rule,
        ReplyScript,
        ToolCallScript,
        ErrorScript,
        UpstreamScript,
    ],
)
def test_names_every_key(model: type[BaseModel]) -> None:
    """
    There is no key of a rule, a reply or the model API that the page keeps to itself.
    """
    keys = {info.alias or name for name, info in model.model_fields.items()}

    assert [key for key in sorted(keys) if not re.search(f"`{key}[`:]", PAGE)] == []


def test_names_everything_that_templates_may_use() -> None:
    """
    Each name of a template stands in its table.
    """
    assert [name for name in sorted(TEMPLATE_NAMES) if f"`{name}`" not in PAGE] == []


@pytest.mark.virtual_time
@pytest.mark.parametrize(("script", "dialogue"), DIALOGUES)
async def test_every_dialogue_is_held(
    script: str, dialogue: str, clock: LoopClock
) -> None:
    """
    What the model says on the page is what the mock answers.
    """
    async with mock_in_test(script, clock=clock) as mock:
        for conversation in dialogue.split("\n\n"):
            await Dialogue(mock).check(conversation.splitlines())


class Dialogue:
    """
    One conversation, line by line.
    """

    def __init__(self, mock: MockInTest) -> None:
        self._mock = mock
        self._messages: list[dict[str, Any]] = []

    async def check(self, lines: list[str]) -> None:
        """
        Say what is said, and compare what the model answers.
        """
        for line in lines:
            who, _, what = line.partition(": ")
            if who.startswith("model"):
                assert await self._ask() == line
            elif who == "user":
                self._messages.append({"role": "user", "content": what})
            elif who == "again":
                if self._messages[-1]["role"] == "assistant":
                    self._messages.pop()
            else:
                call = self._messages[-1]["tool_calls"][0]
                assert who == f"tool {call['function']['name']}"
                self._messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": what}
                )

    async def _ask(self) -> str:
        answer = await self._mock.send(
            "POST",
            "/v1/chat/completions",
            {"model": "gpt-4o", "messages": self._messages, "tools": [TOOL]},
            headers={"authorization": "Bearer sk-page"},
        )
        return self._told(answer)

    def _told(self, answer: RawAnswer) -> str:
        if answer.status != 200:
            return f"model fails: {answer.status} {answer.json['error']['code']}"
        message = answer.json["choices"][0]["message"]
        self._messages.append(message)
        calls = [
            f"{call['function']['name']}({call['function']['arguments']})"
            for call in message.get("tool_calls", ())
        ]
        return f"model calls: {calls[0]}" if calls else f"model: {message['content']}"
