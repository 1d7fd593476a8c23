"""
What the reference service can be told, in the shape of its YAML.

Durations and rates are text with units in files and plain seconds in the fields.
A value that makes no sense and a key that does not exist are refused, all mistakes
at once. Secrets never show in a representation, a dump or an error.
"""

from harness.settings.sections import (
    DEFAULT_ENDPOINT,
    LimitSettings,
    ToolSettings,
    UpstreamSettings,
    WebhookSettings,
)
from harness.settings.service_settings import ENVIRONMENT, ServiceSettings
from harness.settings.strategies import (
    BreakerSettings,
    ConcurrencySettings,
    HedgingSettings,
    RateLimitSettings,
    RetryBudgetSettings,
)
from harness.settings.text import Count, Duration, HttpUrl, PositiveDuration, Rate

__all__ = [
    "DEFAULT_ENDPOINT",
    "ENVIRONMENT",
    "BreakerSettings",
    "ConcurrencySettings",
    "Count",
    "Duration",
    "HedgingSettings",
    "HttpUrl",
    "LimitSettings",
    "PositiveDuration",
    "Rate",
    "RateLimitSettings",
    "RetryBudgetSettings",
    "ServiceSettings",
    "ToolSettings",
    "UpstreamSettings",
    "WebhookSettings",
]
