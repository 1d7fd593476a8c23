"""
How slowness is modelled.
"""

from mock_server.latency.profile import LatencyProfile, profile_of, sampler_of
from mock_server.latency.samplers import (
    Fixed,
    LogNormal,
    Normal,
    Recorded,
    Sampler,
    Uniform,
)

__all__ = [
    "Fixed",
    "LatencyProfile",
    "LogNormal",
    "Normal",
    "Recorded",
    "Sampler",
    "Uniform",
    "profile_of",
    "sampler_of",
]
