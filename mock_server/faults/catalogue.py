"""
Every fault there is, by name.
"""

import types
from collections.abc import Mapping
from typing import Final

from mock_server.faults.answers import (
    EmptyBody,
    Gone,
    HtmlPage,
    QuotaExhausted,
    RateLimited,
    RedirectTo,
    Status,
)
from mock_server.faults.api_errors import (
    ContentFiltered,
    ContextLengthExceeded,
    ErrorIn200,
    InvalidApiKey,
    ModelNotFound,
    RateLimitHeaders,
    Redirect,
    ServerOverloaded,
)
from mock_server.faults.connection import (
    BlackHole,
    CloseBeforeHeaders,
    CutAtByte,
    Disconnect,
    Refuse,
    ResetBeforeHeaders,
    ResetInBody,
    SlowHeaders,
    StaleKeepAlive,
)
from mock_server.faults.emitter import (
    BadSignature,
    BodyChanged,
    Delay,
    Drop,
    Duplicate,
    FutureTimestamp,
    MissingSignature,
    RivalResult,
    StaleTimestamp,
    UnknownCall,
    WrongSecret,
)
from mock_server.faults.endpoint import DownFor, EndlessBody, GzipBomb
from mock_server.faults.event_fields import (
    ChangingId,
    LateToolName,
    MissingIndex,
    ModelName,
    SplitToolName,
    UsageFault,
    WrongIndex,
)
from mock_server.faults.events import (
    DoneWithoutFinish,
    DropEvent,
    DuplicateEvent,
    EmptyDeltas,
    ErrorEvent,
    GiantEvent,
    MissingDone,
    ReorderEvents,
    StallWithComments,
)
from mock_server.faults.fault import Fault
from mock_server.faults.headers import (
    BadGzip,
    ContentLength,
    HeaderFlood,
    RequestId,
    WrongContentType,
)
from mock_server.faults.message_forms import (
    Choices,
    Content,
    FinishReasonFault,
    LegacyFunctionCall,
    PromptInjection,
    ReasoningOnly,
    Refusal,
)
from mock_server.faults.model_output import Arguments, UnknownTool
from mock_server.faults.pacing import Bandwidth, Drip, Framing, Split
from mock_server.faults.rivals import (
    BodyReserialized,
    Compressed,
    Early,
    Garbage,
    Oversized,
    Reorder,
    ReplayedId,
    RetiredSecret,
    SameIdOtherBody,
)
from mock_server.faults.schema_violation import SchemaViolation
from mock_server.faults.stream import MalformedEvent, NotJson, Stall, Truncate
from mock_server.faults.tool_and_endpoint import LostAck, LostReply, NeverAnswers, Slow
from mock_server.faults.tool_calls import (
    CallId,
    DoomLoop,
    FanOut,
    ForcedToolIgnored,
    NearMissTool,
    ToolDespiteNone,
    ToolNotOffered,
)
from mock_server.faults.tool_results import (
    FinishesOutOfOrder,
    HugeResult,
    InjectionInResult,
    StaleValue,
    WrongValue,
)

FAMILIES: Final[Mapping[str, tuple[type[Fault], ...]]] = types.MappingProxyType(
    {
        "Answers of the API": (
            Status,
            RateLimited,
            QuotaExhausted,
            ContextLengthExceeded,
            ModelNotFound,
            InvalidApiKey,
            ServerOverloaded,
            ContentFiltered,
            Redirect,
            RedirectTo,
            ErrorIn200,
            HtmlPage,
            EmptyBody,
            NotJson,
            WrongContentType,
            ContentLength,
            BadGzip,
            HeaderFlood,
            RequestId,
            RateLimitHeaders,
        ),
        "Connection": (
            Refuse,
            CloseBeforeHeaders,
            ResetBeforeHeaders,
            ResetInBody,
            BlackHole,
            SlowHeaders,
            Drip,
            Bandwidth,
            CutAtByte,
            StaleKeepAlive,
            EndlessBody,
            GzipBomb,
            DownFor,
        ),
        "Stream": (
            Disconnect,
            Truncate,
            MissingDone,
            DoneWithoutFinish,
            Stall,
            StallWithComments,
            MalformedEvent,
            ErrorEvent,
            DuplicateEvent,
            DropEvent,
            ReorderEvents,
            WrongIndex,
            ChangingId,
            Split,
            Framing,
            GiantEvent,
            EmptyDeltas,
            LateToolName,
            SplitToolName,
            MissingIndex,
            UsageFault,
        ),
        "Model output": (
            Arguments,
            SchemaViolation,
            UnknownTool,
            NearMissTool,
            ToolNotOffered,
            ToolDespiteNone,
            ForcedToolIgnored,
            CallId,
            DoomLoop,
            FanOut,
            LegacyFunctionCall,
            FinishReasonFault,
            Choices,
            Content,
            Refusal,
            ReasoningOnly,
            ModelName,
            PromptInjection,
        ),
        "Tool backend": (
            NeverAnswers,
            Slow,
            LostReply,
            HugeResult,
            InjectionInResult,
            WrongValue,
            StaleValue,
            FinishesOutOfOrder,
        ),
        "Webhook endpoint": (LostAck, Gone),
        "Webhook emitter": (
            Delay,
            Duplicate,
            Drop,
            Reorder,
            Early,
            BadSignature,
            MissingSignature,
            WrongSecret,
            RetiredSecret,
            BodyChanged,
            BodyReserialized,
            StaleTimestamp,
            FutureTimestamp,
            ReplayedId,
            SameIdOtherBody,
            RivalResult,
            UnknownCall,
            Compressed,
            Oversized,
            Garbage,
        ),
    }
)
"""All faults, each in the family where one looks for it first."""

CATALOGUE: Final[Mapping[str, type[Fault]]] = types.MappingProxyType(
    {fault.name: fault for family in FAMILIES.values() for fault in family}
)
"""In the order of the documentation: answers, connection, stream, model, surfaces."""
