"""
How slow an answer is: before its first output, and between the further ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from mock_server.latency.samplers import (
    CALM,
    Fixed,
    LogNormal,
    Machine,
    Mixture,
    Normal,
    Recorded,
    Sampler,
    Situation,
    Spell,
    Table,
    Uniform,
)
from mock_server.script import (
    LatencyScript,
    LatencyValue,
    LoadLatency,
    LogNormalLatency,
    MixtureLatency,
    NormalLatency,
    PacedLatencyValue,
    RecordedLatency,
    SimpleLatency,
    SpellLatency,
    TableLatency,
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

    argument_token: Sampler | None = None
    """Before each piece of a tool call's arguments; None is like any other."""

    @property
    def depends_on(self) -> tuple[str, ...]:
        """
        What besides the seed decides: ``clock``, ``load``, or nothing.
        """
        samplers = (self.time_to_first_token, self.inter_token, self.argument_token)
        return tuple(
            name
            for name, kind in (("clock", Spell), ("load", Machine))
            if any(isinstance(sampler, kind) for sampler in samplers)
        )

    def delay_s(
        self,
        pace: Pace,
        output_number: int,
        draw: Callable[[str], float],
        situation: Situation = CALM,
    ) -> float:
        """
        Return how long a chunk of that pace waits.

        Args:
            pace: The chunk's own.
            output_number: Counts the paced chunks of the answer from 0.
            draw: A number in [0, 1) by purpose.
            situation: What it may depend on besides.
        """
        purpose = f"token-{output_number}"
        sampler: Sampler | Recorded
        match pace:
            case Pace.NONE:
                return 0.0
            case Pace.FIRST_TOKEN:
                sampler, purpose = self.time_to_first_token, "first"
            case Pace.TOKEN:
                sampler = self.inter_token
            case Pace.ARGUMENT:
                sampler = self.argument_token or self.inter_token
            case _:
                assert_never(pace)
        if isinstance(sampler, Recorded):
            return sampler.nth_s(output_number - 1)
        # Most delays are fixed, and a draw costs a digest.
        if isinstance(sampler, Fixed):
            return sampler.delay_s
        return sampler.sample_s(draw(purpose), situation)


def sampler_of(value: LatencyValue | None) -> Sampler:
    """
    Return the sampler that a script asks for; none is no delay.
    """
    match value:
        case None:
            return NONE
        case MixtureLatency(mixture=parts):
            return Mixture(
                parts=tuple((part.share, simple_sampler_of(part.of)) for part in parts)
            )
        case SpellLatency(of=inner, spells=spells):
            return Spell(
                of=simple_sampler_of(inner),
                every_s=spells.every_s,
                lasts_s=spells.lasts_s,
                times=spells.times,
            )
        case LoadLatency(load=load):
            return Machine(
                base_s=load.base_s,
                per_prompt_token_s=load.per_prompt_token_s,
                slowdown=load.slowdown,
                slots=load.slots,
            )
        case _:
            return simple_sampler_of(value)


def simple_sampler_of(value: SimpleLatency) -> Sampler:
    """
    Return the sampler of a fixed delay or of a distribution.
    """
    match value:
        case float():
            return Fixed(delay_s=value)
        case LogNormalLatency(median_s=median_s, p99_s=p99_s):
            return LogNormal(median_s=median_s, p99_s=p99_s)
        case UniformLatency(low_s=low_s, high_s=high_s):
            return Uniform(low_s=low_s, high_s=high_s)
        case NormalLatency(mean_s=mean_s, deviation_s=deviation_s):
            return Normal(mean_s=mean_s, deviation_s=deviation_s)
        case TableLatency(percentiles=percentiles):
            shares = sorted(percentiles.items())
            return Table(points=tuple((p / 100, delay_s) for p, delay_s in shares))
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
            argument_token=(
                None
                if script.argument_token is None
                else sampler_of(script.argument_token)
            ),
        )
    return LatencyProfile(time_to_first_token=sampler_of(script))


def _paced(value: PacedLatencyValue | None) -> Sampler | Recorded:
    if isinstance(value, RecordedLatency):
        return Recorded(delays_s=value.delays_s)
    return sampler_of(value)
