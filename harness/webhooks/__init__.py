"""
Webhooks out and in: signed, retried, deduplicated, and never lost once committed.
"""

from harness.webhooks.egress import (
    DialDenied,
    EgressPolicy,
    is_loopback,
    loopback_of,
    open_session,
)
from harness.webhooks.endpoint import Endpoint
from harness.webhooks.exchange import exchange
from harness.webhooks.message import (
    BODY_BYTES_MAX,
    MessageFactory,
    ParsedBody,
    WebhookFormat,
    build_article_body,
    build_body,
    parse_body,
)
from harness.webhooks.receiver import (
    ReceiverAnswer,
    ReceiverOptions,
    WebhookReceiver,
)
from harness.webhooks.schedule import Answer, RetrySchedule, next_step
from harness.webhooks.sender import SenderOptions, WebhookSender
from harness.webhooks.signing import (
    TOLERANCE_S,
    Secret,
    VerifiedMessage,
    sign,
    sign_article,
    verify,
    verify_article,
)

__all__ = [
    "BODY_BYTES_MAX",
    "TOLERANCE_S",
    "Answer",
    "DialDenied",
    "EgressPolicy",
    "Endpoint",
    "MessageFactory",
    "ParsedBody",
    "ReceiverAnswer",
    "ReceiverOptions",
    "RetrySchedule",
    "Secret",
    "SenderOptions",
    "VerifiedMessage",
    "WebhookFormat",
    "WebhookReceiver",
    "WebhookSender",
    "build_article_body",
    "build_body",
    "exchange",
    "is_loopback",
    "loopback_of",
    "next_step",
    "open_session",
    "parse_body",
    "sign",
    "sign_article",
    "verify",
    "verify_article",
]
