"""
The same seed gives the same run.
"""

import asyncio

from harness.testing import WALL_EPOCH_S, LinkOptions, run_virtual
from mock_server import LoopClock, MockOptions
from mock_server.events import encode_record
from mock_server.testing import MockInTest, mock_in_test

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply: {tool_calls: [{name: approve, arguments: {city: Paris}}]}
    - match: {last_message: {role: user}}
      reply: {text: "one two three four five six"}
  latency:
    time_to_first_token: {median: 100ms, p99: 2s}
    inter_token: {low: 10ms, high: 50ms}
  faults:
    - {fault: status, injection_rate: 0.2}
    - {fault: disconnect, injection_rate: 0.2}
    - {fault: arguments, kind: truncated, injection_rate: 0.5}
tools:
  approve:
    deferred: true
    result: {ok: true}
    latency: {mean: 1s, deviation: 200ms}
    faults: [{fault: lost_reply, injection_rate: 0.3}]
webhook_emitter: {faults: [{fault: duplicate, injection_rate: 0.3}]}
"""
CALLS = 40


async def _call(mock: MockInTest, number: int) -> None:
    trace = {"traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-01"}
    await mock.clock.sleep(number * 0.05)
    message = f"weather {number}" if number % 2 else f"hello {number}"
    for _ in range(2):
        await mock.chat(message, stream=number % 3 == 0, headers=trace)
    headers = {**trace, "idempotency-key": f"call_{number}"}
    await mock.send("POST", "/tools/approve", {}, headers=headers)


def _run(*, mock_seed: int, loop_seed: int = 1) -> bytes:
    async def main() -> bytes:
        clock = LoopClock(WALL_EPOCH_S)
        options = MockOptions(
            port=0,
            seed=mock_seed,
            service_url="http://127.0.0.1:9",
            webhook_secret="whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",  # noqa: S106 - a test's
        )
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            async with asyncio.TaskGroup() as tasks:
                for number in range(CALLS):
                    tasks.create_task(_call(mock, number))
            await clock.sleep(100)
        return b"\n".join(encode_record(record) for record in mock.records)

    links = LinkOptions(latency_min_s=0.0, latency_max_s=0.01)
    return run_virtual(main, seed=loop_seed, links=links)


def test_the_same_seeds_give_the_same_bytes() -> None:
    """
    Two runs write the same event log, to the byte.
    """
    first, second = _run(mock_seed=7), _run(mock_seed=7)

    assert first == second
    assert first.count(b'"kind":"upstream_request_ended"') == 2 * CALLS


def test_the_network_does_not_move_the_faults() -> None:
    """
    Other network latencies, so another order of arrival: the same faults hit.
    """

    def hits(log: bytes) -> set[bytes]:
        return {
            line[line.index(b'"draw"') : line.index(b'"fault_id"')]
            + line[line.index(b'"trace_id"') :]
            for line in log.splitlines()
            if b'"kind":"fault_applied"' in line and b"webhook_emitter" not in line
        }

    first, second = _run(mock_seed=7, loop_seed=1), _run(mock_seed=7, loop_seed=2)

    assert first != second
    assert hits(first) == hits(second) != set()


def test_another_seed_gives_another_run() -> None:
    """
    The seed of the mock decides what is hit.
    """
    assert _run(mock_seed=7) != _run(mock_seed=8)
