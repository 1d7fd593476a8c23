"""
Runs that are polled take the time that the script gives them, and wait only so long.
"""

from typing import Any

import pytest

from harness.testing import WALL_EPOCH_S
from mock_server import LoopClock
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

AUTH = {"authorization": "Bearer sk-1"}
SCRIPT = """
upstream:
  latency: {time_to_first_token: 20s}
  threads: {poll_after: 250ms}
  script:
    - match: {last_message: {contains: weather}}
      reply: {tool_calls: [{name: get_weather}]}
    - reply: {text: hello}
"""


class Runner:
    """
    Runs threads with raw requests.
    """

    def __init__(self, mock: MockInTest) -> None:
        self.mock = mock

    async def post(self, path: str, body: object) -> Any:
        """
        Return what is answered.
        """
        answer = await self.mock.send("POST", f"/v1{path}", body, headers=AUTH)
        assert answer.status == 200, answer.body
        return answer.json

    async def start(self, text: str) -> str:
        """
        Start a run and return its path.
        """
        assistant = await self.post("/assistants", {"model": "gpt-4o"})
        run = await self.post(
            "/threads/runs",
            {
                "assistant_id": assistant["id"],
                "thread": {"messages": [{"role": "user", "content": text}]},
            },
        )
        return f"/threads/{run['thread_id']}/runs/{run['id']}"

    async def status(self, path: str) -> str:
        """
        Return the stage a run is in.
        """
        answer = await self.mock.send("GET", f"/v1{path}", headers=AUTH)
        assert answer.headers["openai-poll-after-ms"] == "250"
        return str(answer.json["status"])


async def test_a_run_takes_its_time() -> None:
    """
    A run is queued for as long as the model takes, and the answer to it is not held up.
    """
    async with mock_in_test(SCRIPT, clock=LoopClock(WALL_EPOCH_S)) as mock:
        runner = Runner(mock)
        path = await runner.start("hi")
        before = await runner.status(path)
        await mock.clock.sleep(19)
        during = await runner.status(path)
        await mock.clock.sleep(2)
        after = await runner.status(path)

    assert [before, during, after] == ["queued", "queued", "completed"]


async def test_a_run_that_nobody_answers_expires() -> None:
    """
    Ten minutes after its start a run that waits for outputs is given up.
    """
    async with mock_in_test(SCRIPT, clock=LoopClock(WALL_EPOCH_S)) as mock:
        runner = Runner(mock)
        path = await runner.start("weather")
        await mock.clock.sleep(500)
        waiting = await runner.status(path)
        await mock.clock.sleep(200)
        expired = await runner.status(path)
        thread = path.split("/runs/")[0]
        await runner.post(f"{thread}/messages", {"role": "user", "content": "again"})

    assert [waiting, expired] == ["requires_action", "expired"]


async def test_a_cancelled_run_never_speaks() -> None:
    """
    What the model was about to say is not said after a cancel.
    """
    async with mock_in_test(SCRIPT, clock=LoopClock(WALL_EPOCH_S)) as mock:
        runner = Runner(mock)
        path = await runner.start("hi")
        cancelling = await runner.post(f"{path}/cancel", {})
        await mock.clock.sleep(60)
        status = await runner.status(path)
        thread = path.split("/runs/")[0]
        messages = await mock.send("GET", f"/v1{thread}/messages", headers=AUTH)

    assert cancelling["status"] == "cancelling"
    assert status == "cancelled"
    assert [message["role"] for message in messages.json["data"]] == ["user"]
