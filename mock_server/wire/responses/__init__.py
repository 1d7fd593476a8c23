"""
The Responses API on the wire: requests, responses, streams.
"""

from mock_server.wire.responses.chat import chat_of
from mock_server.wire.responses.check import (
    check_says_json,
    check_schemas,
    check_transcript,
)
from mock_server.wire.responses.output import Mint, output_items
from mock_server.wire.responses.parse import parse_object, parse_responses_request
from mock_server.wire.responses.request import (
    Item,
    ResponsesRequest,
    as_items,
    kind_of,
)
from mock_server.wire.responses.response import (
    UNFINISHED,
    Response,
    Status,
    value_plan,
)
from mock_server.wire.responses.shape import ITEM, METADATA, check_fields
from mock_server.wire.responses.stream import (
    response_events,
    stream_head,
    stream_plan,
)

__all__ = [
    "ITEM",
    "METADATA",
    "UNFINISHED",
    "Item",
    "Mint",
    "Response",
    "ResponsesRequest",
    "Status",
    "as_items",
    "chat_of",
    "check_fields",
    "check_says_json",
    "check_schemas",
    "check_transcript",
    "kind_of",
    "output_items",
    "parse_object",
    "parse_responses_request",
    "response_events",
    "stream_head",
    "stream_plan",
    "value_plan",
]
