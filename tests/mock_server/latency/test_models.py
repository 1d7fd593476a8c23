"""
Latencies that are more than a distribution: tables, mixtures, spells, load.
"""

from statistics import fmean

import pytest

from mock_server import LoopClock
from mock_server.documents import DocumentError, parse_document
from mock_server.latency import Machine, Sampler, Situation, sampler_of
from mock_server.script import script_of
from mock_server.testing import mock_in_test

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def _sampler(latency: str) -> Sampler:
    text = f"upstream: {{latency: {{time_to_first_token: {latency}}}}}"
    script = script_of(parse_document(text, file="script"))
    return sampler_of(script.upstream.latency.time_to_first_token)


@pytest.mark.parametrize(
    ("draw", "delay_s"),
    [(0.0, 0.1), (0.5, 0.1), (0.7, 0.2), (0.9, 0.3), (0.945, 0.65), (0.99, 1), (1, 1)],
)
def test_follows_a_table(draw: float, delay_s: float) -> None:
    """
    At a percentile it is what was measured, between two of them on a straight line.
    """
    sampler = _sampler("{percentiles: {50: 100ms, 90: 300ms, 99: 1s}}")

    assert sampler.sample_s(draw) == pytest.approx(delay_s)


def test_mixes_kinds() -> None:
    """
    One in a hundred takes twenty times as long, and the draw says which.
    """
    sampler = _sampler("{mixture: [{share: 0.99, of: 100ms}, {share: 0.01, of: 2s}]}")

    delays_s = [sampler.sample_s(number / 1000) for number in range(1000)]

    assert delays_s.count(2.0) == 10
    assert fmean(delays_s) == pytest.approx(0.119)
    assert sampler.sample_s(1 - 1e-12) == 2.0


def test_a_part_of_a_mixture_keeps_its_distribution() -> None:
    """
    Within its share, the draw runs through the whole part.
    """
    sampler = _sampler(
        "{mixture: [{share: 0.5, of: 1s}, {share: 0.5, of: {low: 2s, high: 4s}}]}"
    )

    assert sampler.sample_s(0.5) == pytest.approx(2)
    assert sampler.sample_s(0.75) == pytest.approx(3)
    assert sampler.sample_s(0.999999) == pytest.approx(4, abs=1e-3)


@pytest.mark.parametrize(
    ("now_s", "delay_s"), [(0, 1), (9.9, 1), (10, 0.1), (59.9, 0.1), (60, 1), (75, 0.1)]
)
def test_is_slow_for_a_while(now_s: float, delay_s: float) -> None:
    """
    In a spell everything takes ten times as long, and out of it nothing does.
    """
    sampler = _sampler("{of: 100ms, spells: {every: 60s, lasts: 10s}}")

    assert sampler.sample_s(0.5, Situation(now_s=now_s)) == pytest.approx(delay_s)


def test_reads_the_prompt() -> None:
    """
    Every token of the prompt takes its time.
    """
    sampler = _sampler("{load: {base: 10ms, per_prompt_token: 1ms}}")

    assert sampler.sample_s(0, Situation(prompt_tokens=40)) == pytest.approx(0.05)


def test_slows_down_and_then_queues() -> None:
    """
    Side by side requests slow each other down; beyond the slots they wait their turn.
    """
    machine = Machine(base_s=1.0, per_prompt_token_s=0.0, slowdown=0.5, slots=2)

    at_once = [machine.sample_s(0, Situation(now_s=0)) for _ in range(4)]
    later = machine.sample_s(0, Situation(now_s=100))

    # Alone 1 s, beside another 1.5 s; the third follows the first, the fourth the
    # second.
    assert at_once == pytest.approx([1.0, 1.5, 2.5, 3.0])
    assert later == 1.0


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        ("{percentiles: {50: 2s, 99: 1s}}", "not quicker"),
        ("{percentiles: {101: 2s}}", "between 0 and 100"),
        ("{percentiles: {}}", "at least 1"),
        ("{mixture: [{share: 0.5, of: 1s}]}", "1 together"),
        ("{load: {slots: 0}}", "slots"),
        ("{of: 1s, spells: {every: 0s, lasts: 1s}}", "every"),
    ],
)
def test_nonsense_is_a_mistake(latency: str, words: str) -> None:
    """
    A latency that cannot be is refused with its place.
    """
    with pytest.raises(DocumentError, match=words) as caught:
        _sampler(latency)

    assert "script:1:" in str(caught.value)


@pytest.mark.virtual_time
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_arguments_have_their_own_speed(
    clock: LoopClock, *, stream: bool
) -> None:
    """
    The pieces of arguments come at their own pace, the words of a text at theirs.
    """
    script = """
    upstream:
      script:
        - {match: {tools: f, turn: 1}, reply: {tool_calls: [{name: f, arguments: "ab cd"}]}}
        - {reply: {text: "one two three"}}
      latency: {inter_token: 1s, argument_token: 10s}
    """
    async with mock_in_test(script, clock=clock) as mock:
        words = await mock.chat(stream=stream)
        call = await mock.chat(stream=stream, tools=TOOLS)

    # Three words; two words of arguments and the blank between them.
    assert words.last_byte_s == (3.0 if stream else 0.0)
    assert call.last_byte_s == (30.0 if stream else 0.0)


@pytest.mark.virtual_time
async def test_says_that_it_cannot_be_repeated(clock: LoopClock) -> None:
    """
    The journal and the event name what besides the seed decided a delay.
    """
    script = "upstream: {latency: {time_to_first_token: {load: {base: 2s, slots: 1}}}}"
    async with mock_in_test(script, clock=clock) as mock:
        await mock.chat()
        [ended] = mock.of("upstream_request_ended")
        journal = (await mock.send("GET", "/_mock/journal")).json
        health = (await mock.send("GET", "/_mock/health")).json

    assert ended["depends_on"] == ["load"]
    [entry] = journal["entries"]
    assert (entry["depends_on"], entry["planned_us"]) == (["load"], 2_000_000)
    assert entry["actual_us"] == 2_000_000
    assert health["overhead_us"] == {"p50": 0.0, "p99": 0.0}


@pytest.mark.virtual_time
async def test_slow_requests_may_fail(clock: LoopClock) -> None:
    """
    A fault can be coupled to the planned delay: only the slow requests meet it.
    """
    script = """
    upstream:
      latency: {time_to_first_token: {mixture: [{share: 0.5, of: 1s}, {share: 0.5, of: 9s}]}}
      faults: [{fault: status, slower_than: 5s}]
    """
    async with mock_in_test(script, clock=clock) as mock:
        for number in range(20):
            await mock.chat(f"message {number}")
        ended = mock.of("upstream_request_ended")

    statuses = {record["status"] for record in ended}
    assert statuses == {200, 503}
    assert {r["planned_us"] for r in ended if r["status"] == 200} == {1_000_000}
