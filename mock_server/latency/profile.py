"""
How slow an answer is: before its first output, and between the further ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from mock_server.latency.samplers import (
    Fixed,
    LogNormal,
    Normal,
    Recorded,
    Sampler,
    Uniform,
)
from mock_server.script import (
    LatencyScript,
    LatencyValue,
    LogNormalLatency,
    NormalLatency,
    PacedLatencyValue,
    RecordedLatency,
    UniformLatency,
)
from mock_server.wire import Pace

NONE = Fixed(delay_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyProfile:
    """
    The samplers of one kind of answer.
    """

    time_to_first_token: Sampler = NONE
    """Before the first output; of a plain answer, before the whole."""

    inter_token: Sampler | Recorded = NONE
    """Before each further output of a stream."""

    def delay_s(
        self, pace: Pace, output_number: int, draw: Callable[[str], float]
    ) -> float:
        """
        Return how long a chunk of that pace waits.

        Args:
            pace: The chunk's own.
            output_number: Counts the paced chunks of the answer from 0.
            draw: A number in [0, 1) by purpose.
        """
        match pace:
            case Pace.NONE:
                return 0.0
            case Pace.FIRST_TOKEN:
                return self._sample(self.time_to_first_token, "first", draw)
            case Pace.TOKEN:
                if isinstance(self.inter_token, Recorded):
                    return self.inter_token.nth_s(output_number - 1)
                return self._sample(self.inter_token, f"token-{output_number}", draw)
            case _:
                assert_never(pace)

    @staticmethod
    def _sample(sampler: Sampler, purpose: str, draw: Callable[[str], float]) -> float:
        # Most delays are fixed, and a draw costs a digest.
        if isinstance(sampler, Fixed):
            return sampler.delay_s
        return sampler.sample_s(draw(purpose))


def sampler_of(value: LatencyValue | None) -> Sampler:
    """
    Return the sampler that a script asks for; none is no delay.
    """
    match value:
        case None:
            return NONE
        case float():
            return Fixed(delay_s=value)
        case LogNormalLatency(median_s=median_s, p99_s=p99_s):
            return LogNormal(median_s=median_s, p99_s=p99_s)
        case UniformLatency(low_s=low_s, high_s=high_s):
            return Uniform(low_s=low_s, high_s=high_s)
        case NormalLatency(mean_s=mean_s, deviation_s=deviation_s):
            return Normal(mean_s=mean_s, deviation_s=deviation_s)
        case _:
            assert_never(value)


def profile_of(script: LatencyScript | LatencyValue | None) -> LatencyProfile:
    """
    Return the profile of a surface: a model's two latencies, or one for all else.
    """
    if isinstance(script, LatencyScript):
        return LatencyProfile(
            time_to_first_token=sampler_of(script.time_to_first_token),
            inter_token=_paced(script.inter_token),
        )
    return LatencyProfile(time_to_first_token=sampler_of(script))


def _paced(value: PacedLatencyValue | None) -> Sampler | Recorded:
    if isinstance(value, RecordedLatency):
        return Recorded(delays_s=value.delays_s)
    return sampler_of(value)
