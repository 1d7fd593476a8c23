"""
The model API, from our side: bytes become events, events a completion.

Everything but the client is pure.
"""

from harness.upstream.assembly import CompletionAssembler
from harness.upstream.chat_completions import (
    encode_request,
    parse_answer,
    parse_submitted_output,
)
from harness.upstream.classify import classify
from harness.upstream.client import OnDelta, UpstreamClient
from harness.upstream.connections import PooledConnector, open_session
from harness.upstream.model import (
    Breakage,
    ChatRequest,
    Completion,
    FinishReason,
    SubmittedOutput,
    ToolCall,
    Usage,
)
from harness.upstream.options import UpstreamOptions
from harness.upstream.sse import SseEvent, SseParser

__all__ = [
    "Breakage",
    "ChatRequest",
    "Completion",
    "CompletionAssembler",
    "FinishReason",
    "OnDelta",
    "PooledConnector",
    "SseEvent",
    "SseParser",
    "SubmittedOutput",
    "ToolCall",
    "UpstreamClient",
    "UpstreamOptions",
    "Usage",
    "classify",
    "encode_request",
    "open_session",
    "parse_answer",
    "parse_submitted_output",
]
