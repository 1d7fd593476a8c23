"""
What must hold of any honest simulator: checks of the simulation by itself.
"""

import asyncio
import copy
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from harness.bench import RunOptions, read_records
from harness.clock import LoopClock
from harness.scenario import Scenario
from harness.simulation import Host, LinkOptions, SimLoop, run_scenario, run_virtual

PORT: Final = 8_000

SCENARIO: Final[Mapping[str, Any]] = {
    "scenario": "self-check",
    "title": "Chats with a tool and webhooks, some of which fail.",
    "seed": 11,
    "upstream": {
        "script": [
            {
                "match": {"last_message": {"role": "user", "contains": "order"}},
                "reply": {
                    "tool_calls": [
                        {
                            "name": "query_order",
                            "arguments": {"order_id": "ORD-20260115-00042"},
                        }
                    ]
                },
            },
            {"match": {"last_message": {"role": "tool"}}, "reply": {"text": "Done."}},
        ],
        "latency": {"time_to_first_token": {"median": "40ms", "p99": "200ms"}},
        "faults": [{"fault": "status", "status": 503, "injection_rate": 0.2}],
    },
    "tools": {"query_order": {"result": {"status": "shipped"}, "latency": "20ms"}},
    "webhook_endpoint": {
        "faults": [{"fault": "status", "status": 500, "injection_rate": 0.3}]
    },
    "workload": [{"arrivals": "5/s", "for": "4s", "send": {"message": "my order?"}}],
}


def log_of(scenario: Mapping[str, Any], run_dir: Path) -> list[dict[str, Any]]:
    """
    Run a scenario and return what happened: its event log without its own numbers.

    Which faults there are is no happening, and moves the numbers of what comes next.
    """
    run_dir.mkdir()
    run_scenario(
        Scenario.model_validate(scenario),
        RunOptions(run_dir=run_dir),
        writes_report=False,
    )
    return [
        {name: value for name, value in record.items() if name != "seq"}
        for record in read_records(run_dir / "events.jsonl")
        if record["kind"] != "fault_added"
    ]


@pytest.mark.parametrize(
    ("surface", "fault"),
    [
        ("upstream", {"fault": "truncate"}),
        ("upstream", {"fault": "black_hole"}),
        ("tools", {"fault": "status", "status": 500}),
        ("webhook_endpoint", {"fault": "disconnect"}),
    ],
)
def test_a_fault_that_never_hits_changes_nothing(
    surface: str, fault: dict[str, Any], tmp_path: Path
) -> None:
    """
    With a fault of probability 0 the event log is that of a run without it.
    """
    changed = copy.deepcopy(dict(SCENARIO))
    part = changed[surface]
    owner = part["query_order"] if surface == "tools" else part
    owner["faults"] = [*owner.get("faults", ()), {**fault, "injection_rate": 0}]

    without = log_of(SCENARIO, tmp_path / "without")
    never = log_of(changed, tmp_path / "never")

    assert never == without
    assert any(record["kind"] == "fault_applied" for record in without)


def test_what_is_not_used_changes_nothing(tmp_path: Path) -> None:
    """
    An endpoint, a tool and a rule that nobody asks for leave every event as it was.
    """
    changed = copy.deepcopy(dict(SCENARIO))
    changed["tools"]["unrelated"] = {"result": {}, "latency": "1s"}
    changed["webhook_endpoint"]["endpoints"] = {
        "unrelated": {"latency": "1s", "faults": [{"fault": "disconnect"}]}
    }
    changed["upstream"]["script"].append(
        {"match": {"model": "unrelated"}, "reply": {"text": "Never said."}}
    )

    alone = log_of(SCENARIO, tmp_path / "alone")
    beside = log_of(changed, tmp_path / "beside")

    assert beside == alone


def order_of_events(factor: float, *, seed: int) -> list[tuple[str, float]]:
    """
    Run clients against a slow service, with every length of time times ``factor``.

    Returns:
        What happened, in its order, with the time it took divided by the factor.
    """
    happened: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        clock = LoopClock()
        began_s = loop.time()

        def note(what: str) -> None:
            happened.append((what, (loop.time() - began_s) / factor))

        async def serve() -> None:
            draws = random.Random()  # noqa: S311 - unseeded on purpose: the loop seeds it

            async def answer(request: web.Request) -> web.Response:
                name = (await request.read()).decode()
                note(f"{name} came")
                await clock.sleep(draws.uniform(0.1, 3) * factor)
                return web.Response(status=draws.choice((200, 503)))

            app = web.Application()
            app.router.add_post("/", answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", PORT).start()
            await asyncio.Event().wait()

        async def ask(session: aiohttp.ClientSession, name: str) -> None:
            for attempt in range(1, 4):
                try:
                    async with session.post(
                        f"http://127.0.0.1:{PORT}/", data=name.encode()
                    ) as response:
                        outcome = str(response.status)
                except TimeoutError:
                    outcome = "timed out"
                note(f"{name} attempt {attempt}: {outcome}")
                if outcome == "200":
                    return
                await clock.sleep(random.uniform(0.1, 2) * factor)  # noqa: S311, TID251 - as libraries do

        service = Host(loop=loop, name="service")
        service.start(serve)
        await clock.sleep(0.1 * factor)
        timeout = aiohttp.ClientTimeout(total=2 * factor, ceil_threshold=float("inf"))
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(20):
                tasks.create_task(ask(session, f"client {number}"))
        await service.stop()

    links = LinkOptions(latency_min_s=0.001 * factor, latency_max_s=0.05 * factor)
    run_virtual(main, seed=seed, links=links)
    return happened


@pytest.mark.parametrize("factor", [0.25, 3, 1_000])
def test_all_times_multiplied_keep_the_order(factor: float) -> None:
    """
    Latencies and timeouts times k: the same events in the same order, at times k.
    """
    plain = order_of_events(1, seed=4)
    stretched = order_of_events(factor, seed=4)

    assert [what for what, _ in stretched] == [what for what, _ in plain]
    assert [at_s for _, at_s in stretched] == pytest.approx([at_s for _, at_s in plain])
    outcomes = {what.rpartition(": ")[2] for what, _ in plain}
    assert {"200", "503", "timed out"} <= outcomes
