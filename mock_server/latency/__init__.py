"""
How slowness is modelled.
"""

from mock_server.latency.profile import LatencyProfile, profile_of, sampler_of
from mock_server.latency.samplers import (
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

__all__ = [
    "Fixed",
    "LatencyProfile",
    "LogNormal",
    "Machine",
    "Mixture",
    "Normal",
    "Recorded",
    "Sampler",
    "Situation",
    "Spell",
    "Table",
    "Uniform",
    "profile_of",
    "sampler_of",
]
