"""
How slowness is modelled.
"""

from mock_server.latency.profile import LatencyProfile, profile_of, sampler_of
from mock_server.latency.samplers import Fixed, LogNormal, Normal, Sampler, Uniform

__all__ = [
    "Fixed",
    "LatencyProfile",
    "LogNormal",
    "Normal",
    "Sampler",
    "Uniform",
    "profile_of",
    "sampler_of",
]
