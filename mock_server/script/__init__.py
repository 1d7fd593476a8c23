"""
What the mock is told to do.
"""

from mock_server.script.fault_script import EverySchedule, FaultMatch, FaultScript
from mock_server.script.latency_script import (
    LatencyScript,
    LatencyValue,
    LogNormalLatency,
)
from mock_server.script.model import (
    MockScript,
    NamedEndpointScript,
    ToolErrorScript,
    ToolMatch,
    ToolReplyScript,
    ToolRule,
    ToolScript,
    UpstreamScript,
    WebhookEmitterScript,
    WebhookEndpointScript,
    WebhookMatch,
    WebhookReplyScript,
    WebhookRule,
)
from mock_server.script.rule import (
    ErrorScript,
    Match,
    MessageMatch,
    ReplyScript,
    Rule,
    TextMatch,
    ToolCallScript,
    ToolResultMatch,
    UsageScript,
)

__all__ = [
    "ErrorScript",
    "EverySchedule",
    "FaultMatch",
    "FaultScript",
    "LatencyScript",
    "LatencyValue",
    "LogNormalLatency",
    "Match",
    "MessageMatch",
    "MockScript",
    "NamedEndpointScript",
    "ReplyScript",
    "Rule",
    "TextMatch",
    "ToolCallScript",
    "ToolErrorScript",
    "ToolMatch",
    "ToolReplyScript",
    "ToolResultMatch",
    "ToolRule",
    "ToolScript",
    "UpstreamScript",
    "UsageScript",
    "WebhookEmitterScript",
    "WebhookEndpointScript",
    "WebhookMatch",
    "WebhookReplyScript",
    "WebhookRule",
]
