"""
What may be asked of assistants, threads and runs.
"""

from typing import Any, Final

from mock_server.surfaces.resources import METADATA
from mock_server.surfaces.threads.state import Run, none_found
from mock_server.wire import ApiError
from mock_server.wire.shape import (
    Anything,
    Array,
    Boolean,
    Number,
    Object,
    Shape,
    Text,
    missing,
)

_OPEN: Final = Object(fields={})
_TOOLS: Final = Array(item=Object(fields={"type": Text()}, required=("type",)))
_ROLE: Final = Text(words=("user", "assistant"))
_EFFORT: Final = Text()

MESSAGE: Final[dict[str, Shape]] = {
    "role": _ROLE,
    "content": Anything(),
    "attachments": Array(item=_OPEN),
    "metadata": METADATA,
}
_MESSAGES: Final = Array(
    item=Object(fields=MESSAGE, required=("role", "content")), length_max=1000
)
THREAD: Final[dict[str, Shape]] = {
    "messages": _MESSAGES,
    "metadata": METADATA,
    "tool_resources": _OPEN,
}
ASSISTANT: Final[dict[str, Shape]] = {
    "model": Text(length_min=1),
    "name": Text(length_max=256),
    "description": Text(length_max=512),
    "instructions": Text(length_max=256_000),
    "tools": _TOOLS,
    "tool_resources": _OPEN,
    "metadata": METADATA,
    "temperature": Number(minimum=0, maximum=2),
    "top_p": Number(minimum=0, maximum=1),
    "response_format": Anything(),
    "reasoning_effort": _EFFORT,
}
RUN: Final[dict[str, Shape]] = {
    "assistant_id": Text(length_min=1),
    "model": Text(length_min=1),
    "instructions": Text(length_max=256_000),
    "additional_instructions": Text(length_max=256_000),
    "additional_messages": _MESSAGES,
    "tools": _TOOLS,
    "tool_choice": Anything(),
    "tool_resources": _OPEN,
    "parallel_tool_calls": Boolean(),
    "metadata": METADATA,
    "temperature": Number(minimum=0, maximum=2),
    "top_p": Number(minimum=0, maximum=1),
    "max_completion_tokens": Number(minimum=1, whole=True),
    "max_prompt_tokens": Number(minimum=1, whole=True),
    "truncation_strategy": _OPEN,
    "response_format": Anything(),
    "reasoning_effort": _EFFORT,
    "stream": Boolean(),
}
THREAD_AND_RUN: Final[dict[str, Shape]] = {**RUN, "thread": Object(fields=THREAD)}
OUTPUTS: Final[dict[str, Shape]] = {
    "tool_outputs": Array(
        item=Object(fields={"tool_call_id": Text(), "output": Text()})
    ),
    "stream": Boolean(),
}
FLAT_OUTPUT: Final[dict[str, Shape]] = {
    "run_id": Text(length_min=1),
    "tool_call_id": Text(length_min=1),
    "output": Text(),
}
TEXT_PARTS: Final = Array(item=_OPEN)


def content_text(content: Any, path: str) -> str:
    """
    Return the text of a message's content: a text, or the texts of its parts.

    Raises:
        ApiError: It is neither.
    """
    if isinstance(content, str):
        return content
    if content is None:
        raise missing(path)
    TEXT_PARTS.check(content, path)
    return "".join(
        part["text"] for part in content if isinstance(part.get("text"), str)
    )


def chat_of(run: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """
    Return the chat that a run asks the model, without its messages.

    Hosted tools are left out: there is nobody to host them.
    """
    tools = [tool for tool in run["tools"] if tool.get("type") == "function"]
    chat: dict[str, Any] = {
        "model": run["model"],
        "max_completion_tokens": run["max_completion_tokens"],
        "stream": body.get("stream"),
    }
    if run["response_format"] != "auto":
        chat["response_format"] = run["response_format"]
    if tools:
        chat["tools"] = tools
        chat["tool_choice"] = run["tool_choice"]
        chat["parallel_tool_calls"] = run["parallel_tool_calls"]
    return {name: value for name, value in chat.items() if value is not None}


def instructions_of(run: dict[str, Any], body: dict[str, Any]) -> str:
    """
    Return what the model is told before the thread.
    """
    texts = (run["instructions"], body.get("additional_instructions"))
    return "\n".join(text for text in texts if text)


def outputs_of(body: dict[str, Any], run: Run) -> dict[str, str]:
    """
    Return the outputs of a run's calls; all of them must be there.

    Raises:
        ApiError: Some are missing, or it waits for none.
    """
    outputs = {
        str(output.get("tool_call_id")): output.get("output") or ""
        for output in body["tool_outputs"]
    }
    check_waits(run)
    expected = run.pending
    if set(outputs) != set(expected):
        message = f"Expected tool outputs for call_ids {expected}, got {list(outputs)}"
        raise ApiError(message)
    return {call_id: outputs[call_id] for call_id in expected}


def check_waits(run: Run) -> None:
    """
    Refuse outputs for a run that waits for none.

    Raises:
        ApiError: 400.
    """
    if run.status != "requires_action":
        message = f'Runs in status "{run.status}" do not accept tool outputs.'
        raise ApiError(message)


def check_pending(run: Run, call_id: str) -> None:
    """
    Refuse the output of a call that the run did not make.

    Raises:
        ApiError: 404.
    """
    if call_id not in run.pending:
        raise none_found(call_id, "tool call")
