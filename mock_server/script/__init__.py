"""
What the mock is told to do.
"""

from mock_server.script.auto import is_custom
from mock_server.script.batch_script import BatchScript
from mock_server.script.choice import finish_reason_of, obey_choice
from mock_server.script.conversation import (
    ConversationName,
    Conversations,
    name_conversation,
)
from mock_server.script.drawn import DrawnCall, DrawnReply
from mock_server.script.engine import CallNames, CompiledScript, Decision, ScriptError
from mock_server.script.fault_script import (
    EverySchedule,
    FaultMatch,
    FaultScript,
    OneOfSchedule,
    RampSchedule,
)
from mock_server.script.latency_script import (
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
from mock_server.script.lint import lint_script
from mock_server.script.load import load_script, script_of, seed_of
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
from mock_server.script.quota_script import QuotaScript, QuotasScript
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
from mock_server.script.seen import Seen
from mock_server.script.template_error import TemplateError
from mock_server.script.templates import compile_text, compile_value

__all__ = [
    "BatchScript",
    "CallNames",
    "CompiledScript",
    "ConversationName",
    "Conversations",
    "Decision",
    "DrawnCall",
    "DrawnReply",
    "ErrorScript",
    "EverySchedule",
    "FaultMatch",
    "FaultScript",
    "LatencyScript",
    "LatencyValue",
    "LoadLatency",
    "LogNormalLatency",
    "Match",
    "MessageMatch",
    "MixtureLatency",
    "MockScript",
    "NamedEndpointScript",
    "NormalLatency",
    "OneOfSchedule",
    "PacedLatencyValue",
    "QuotaScript",
    "QuotasScript",
    "RampSchedule",
    "RecordedLatency",
    "ReplyScript",
    "Rule",
    "ScriptError",
    "Seen",
    "SimpleLatency",
    "SpellLatency",
    "TableLatency",
    "TemplateError",
    "TextMatch",
    "ToolCallScript",
    "ToolErrorScript",
    "ToolMatch",
    "ToolReplyScript",
    "ToolResultMatch",
    "ToolRule",
    "ToolScript",
    "UniformLatency",
    "UpstreamScript",
    "UsageScript",
    "WebhookEmitterScript",
    "WebhookEndpointScript",
    "WebhookMatch",
    "WebhookReplyScript",
    "WebhookRule",
    "compile_text",
    "compile_value",
    "finish_reason_of",
    "is_custom",
    "lint_script",
    "load_script",
    "name_conversation",
    "obey_choice",
    "script_of",
    "seed_of",
]
