"""
How slowness is drawn, and how it shows on the wire.
"""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import LoopClock, MockOptions
from mock_server.documents import DocumentError, parse_document
from mock_server.draws import Draws
from mock_server.latency import (
    Fixed,
    LogNormal,
    Normal,
    Sampler,
    Uniform,
    sampler_of,
)
from mock_server.script import script_of
from mock_server.testing import mock_in_test

SAMPLERS: list[Sampler] = [
    Fixed(delay_s=0.2),
    Uniform(low_s=0.1, high_s=0.4),
    Normal(mean_s=0.1, deviation_s=0.2),
    LogNormal(median_s=0.04, p99_s=0.2),
    LogNormal(median_s=0.04, p99_s=0.04),
]


@given(draw=st.floats(0, 1, exclude_max=True))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_draw_gives_a_delay(sampler: Sampler, draw: float) -> None:
    """
    No draw gives a negative or an endless delay.
    """
    assert 0 <= sampler.sample_s(draw) < 60


def test_keeps_to_median_and_tail() -> None:
    """
    Half of the delays are below the median, one in a hundred above the p99.
    """
    draws = Draws(1)
    sampler = LogNormal(median_s=0.04, p99_s=0.2)

    samples = [sampler.sample_s(draws.draw(number)) for number in range(20_000)]

    assert statistics.median(samples) == pytest.approx(0.04, rel=0.03)
    assert sum(sample > 0.2 for sample in samples) == pytest.approx(200, rel=0.3)
    assert sampler.sample_s(0.5) == pytest.approx(0.04)
    assert sampler.sample_s(0.99) == pytest.approx(0.2)


def test_spreads_evenly() -> None:
    """
    A uniform delay is anywhere between its bounds.
    """
    sampler = Uniform(low_s=1.0, high_s=3.0)

    assert [sampler.sample_s(draw) for draw in (0.0, 0.5)] == [1.0, 2.0]


def test_is_never_negative() -> None:
    """
    A bell curve is cut off at zero.
    """
    sampler = Normal(mean_s=0.1, deviation_s=0.1)

    assert sampler.sample_s(0.001) == 0.0
    assert sampler.sample_s(0.5) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("written", "sampler"),
    [
        ("200ms", Fixed(delay_s=0.2)),
        ("{low: 1s, high: 2s}", Uniform(low_s=1, high_s=2)),
        ("{mean: 1s, deviation: 100ms}", Normal(mean_s=1, deviation_s=0.1)),
        ("{median: 1s, p99: 5s}", LogNormal(median_s=1, p99_s=5)),
    ],
)
def test_a_script_says_which(written: str, sampler: Sampler) -> None:
    """
    The keys of a latency say what distribution it is.
    """
    text = f"tools: {{t: {{latency: {written}}}}}"
    script = script_of(parse_document(text, file="script"))

    assert sampler_of(script.tools["t"].latency) == sampler


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{low: 2s, high: 1s}", "high is below low"),
        ("{low: 2s}", "is missing"),
        ("{mean: 2s, deviation: 5}", "duration"),
        ("{median: 2s, p99: 1s}", "p99 is below the median"),
        ("{medium: 2s}", "median"),
        ("5", "duration"),
    ],
)
def test_a_script_with_a_wrong_latency_is_refused(written: str, message: str) -> None:
    """
    A latency that is none is named with its reason.
    """
    text = f"tools: {{t: {{latency: {written}}}}}"

    with pytest.raises(DocumentError, match=message):
        script_of(parse_document(text, file="script"))


SCRIPT = """
upstream:
  script:
    - match: {last_message: {contains: quick}}
      reply: {text: "one two three"}
      latency: {time_to_first_token: 0s, inter_token: 0s}
    - reply: {text: "one two three"}
  latency: {time_to_first_token: {median: 1s, p99: 5s}, inter_token: 100ms}
tools:
  slow: {result: {}, latency: 3s}
  quick: {result: {}}
webhook_endpoint:
  latency: 2s
  endpoints: {quick: {}}
"""


@pytest.mark.virtual_time
async def test_waits_before_the_first_and_between_the_further_outputs(
    clock: LoopClock,
) -> None:
    """
    A stream waits for its first token, then for each further one.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat(stream=True)
        [ended] = mock.of("upstream_request_ended")

    assert answer.first_byte_s is not None
    # Three words and the end of the answer follow the first event.
    tail_s = answer.last_byte_s - answer.first_byte_s
    assert tail_s == pytest.approx(0.3) or tail_s == pytest.approx(0.4)
    assert ended["planned_us"] == pytest.approx(answer.last_byte_s * 1e6, abs=2)
    assert ended["actual_us"] == ended["planned_us"]


@pytest.mark.virtual_time
async def test_a_rule_has_its_own_speed(clock: LoopClock) -> None:
    """
    The latency of a rule replaces that of the surface.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat("be quick", stream=True)

    assert answer.last_byte_s == 0.0


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("path", "delay_s"),
    [
        ("/tools/slow", 3.0),
        ("/tools/quick", 0.0),
        ("/webhooks/default", 2.0),
        ("/webhooks/quick", 0.0),
    ],
)
async def test_each_tool_and_endpoint_has_its_own_speed(
    path: str, delay_s: float, clock: LoopClock
) -> None:
    """
    Nothing is sent before the latency is over.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", path, {})

    assert answer.first_byte_s == delay_s


@pytest.mark.virtual_time
async def test_the_seed_decides_the_delays(clock: LoopClock) -> None:
    """
    The same seed gives the same conversation the same delays; another gives others.
    """

    async def first_bytes(seed: int) -> list[float | None]:
        options = MockOptions(port=0, seed=seed)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            answers = [await mock.chat(f"number {n}") for n in range(5)]
        return [answer.first_byte_s for answer in answers]

    first, again, other = [await first_bytes(seed) for seed in (1, 1, 2)]

    assert first == pytest.approx(again)
    assert first != pytest.approx(other)
    assert len(set(first)) == 5
