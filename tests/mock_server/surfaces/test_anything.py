"""
Whatever is sent to a surface, the answer is one of the API's.
"""

import json
from random import Random
from typing import Any

import pytest

from mock_server.testing import mock_in_test

pytestmark = pytest.mark.virtual_time

AUTH = {"authorization": "Bearer sk-1"}
SCALARS = [None, True, False, -1, 0, 3, 10**30, 1.5, "", "gpt-4o", "user", "auto"]
KEYS = ["type", "text", "role", "content", "function", "name", "id"]
BODIES = 60


def value_of(random: Random, depth: int = 0) -> Any:
    """
    Return any value, not too deep.
    """
    kind = random.random()
    if depth > 2 or kind < 0.6:
        return random.choice(SCALARS)
    size = random.randrange(3)
    if kind < 0.8:
        return [value_of(random, depth + 1) for _ in range(size)]
    return {random.choice(KEYS): value_of(random, depth + 1) for _ in range(size)}


SURFACES: dict[str, list[str]] = {
    "/v1/chat/completions": ["messages", "logprobs", "top_logprobs", "tool_choice"],
    "/v1/completions": ["prompt", "n", "max_tokens", "logprobs", "stream", "echo"],
    "/v1/embeddings": ["input", "dimensions", "encoding_format"],
    "/v1/moderations": ["input"],
    "/v1/batches": ["input_file_id", "endpoint", "completion_window", "metadata"],
    "/v1/assistants": ["tools", "metadata", "response_format", "name"],
    "/v1/threads": ["messages", "metadata", "tool_resources"],
    "/v1/threads/runs": ["assistant_id", "thread", "tools", "tool_choice", "stream"],
    "/v1/threads/T/runs": [
        "assistant_id",
        "additional_messages",
        "tools",
        "tool_choice",
        "response_format",
        "max_completion_tokens",
    ],
    "/v1/threads/T/messages": ["role", "content", "attachments"],
    "/v1/threads/T/runs/R/submit_tool_outputs": ["tool_outputs", "stream"],
    "/v1/runs/submit-tool-outputs": ["run_id", "tool_call_id", "output"],
}
STRICT, LOOSE = "{}", "upstream: {strict: false}"


async def _statuses(script: str, path: str, bodies: list[Any]) -> list[int | None]:
    async with mock_in_test(script) as mock:

        async def post(to: str, body: Any) -> Any:
            data = json.dumps(body).encode()
            return await mock.send("POST", to, data, headers=AUTH)

        assistant = (await post("/v1/assistants", {"model": "gpt-4o"})).json["id"]
        thread = (await post("/v1/threads", {})).json["id"]
        to = path.replace("/T/", f"/{thread}/")
        answers = []
        for body in bodies:
            if "assistant_id" in body and body["assistant_id"] is not None:
                body["assistant_id"] = assistant
            answers.append(await post(to, body))
        return [answer.status for answer in answers]


@pytest.mark.parametrize("script", [STRICT, LOOSE], ids=["strict", "loose"])
@pytest.mark.parametrize("path", SURFACES)
async def test_nothing_breaks_a_surface(path: str, script: str) -> None:
    """
    No body of any shape gets an answer that says the mock itself failed.
    """
    random = Random(path)  # noqa: S311 - a test's
    bodies = [
        {
            "model": "gpt-4o",
            **{
                name: value_of(random)
                for name in SURFACES[path]
                if random.random() < 0.7
            },
        }
        for _ in range(BODIES)
    ]
    for body in bodies:
        if random.random() < 0.5 or "runs" not in path:
            body.pop("model" if "thread" in path or "batch" in path else "none", None)

    result = await _statuses(script, path, bodies)

    failed = [
        pair for pair in zip(result, bodies, strict=True) if (pair[0] or 500) > 499
    ]
    assert failed == []
