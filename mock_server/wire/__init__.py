"""
The OpenAI shapes: requests, replies, errors, streams.
"""

from mock_server.wire.chunks import StreamForm, chunk_plan
from mock_server.wire.completions import completion_plan
from mock_server.wire.errors import (
    ApiError,
    check_api_key,
    error_body,
    error_plan,
    invalid_url,
    mask_key,
    scripted_error,
    unknown_model_id,
)
from mock_server.wire.headers import JSON_CONTENT, answer_headers, standard_headers
from mock_server.wire.parse import parse_chat_request
from mock_server.wire.plan import (
    Chunk,
    Close,
    End,
    Hang,
    Head,
    Pace,
    Part,
    Plan,
    Reset,
    Step,
    Wait,
)
from mock_server.wire.reply import (
    Choice,
    FinishReason,
    Reply,
    ReplyToolCall,
    ToolKind,
    Usage,
)
from mock_server.wire.request import (
    AllowedToolsChoice,
    AssistantMessage,
    ChatRequest,
    CustomChoice,
    CustomTool,
    FunctionChoice,
    FunctionTool,
    Message,
    Tool,
    ToolMessage,
    UserMessage,
    text_of,
)
from mock_server.wire.tokens import count_tokens, usage_of

__all__ = [
    "JSON_CONTENT",
    "AllowedToolsChoice",
    "ApiError",
    "AssistantMessage",
    "ChatRequest",
    "Choice",
    "Chunk",
    "Close",
    "CustomChoice",
    "CustomTool",
    "End",
    "FinishReason",
    "FunctionChoice",
    "FunctionTool",
    "Hang",
    "Head",
    "Message",
    "Pace",
    "Part",
    "Plan",
    "Reply",
    "ReplyToolCall",
    "Reset",
    "Step",
    "StreamForm",
    "Tool",
    "ToolKind",
    "ToolMessage",
    "Usage",
    "UserMessage",
    "Wait",
    "answer_headers",
    "check_api_key",
    "chunk_plan",
    "completion_plan",
    "count_tokens",
    "error_body",
    "error_plan",
    "invalid_url",
    "mask_key",
    "parse_chat_request",
    "scripted_error",
    "standard_headers",
    "text_of",
    "unknown_model_id",
    "usage_of",
]
