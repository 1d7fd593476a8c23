"""
Endpoints, and what each attempt to deliver to one sends beside the body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness import __version__
from harness.errors import UsageError
from harness.ids import IdMint
from harness.stores import ClaimedDelivery
from harness.webhooks.egress import check_form
from harness.webhooks.message import WebhookFormat
from harness.webhooks.signing import (
    ARTICLE_HEADER,
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Secret,
    sign,
    sign_article,
)

USER_AGENT: Final = f"toolcall-harness/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    Where webhooks go, and what they are signed with.
    """

    name: str
    url: str
    secrets: Sequence[Secret] = field(repr=False)
    """Every live secret; each signs."""

    body_format: WebhookFormat = WebhookFormat.STANDARD
    """The article's adds its own signature header."""

    def __post_init__(self) -> None:
        check_form(self.url)
        if not self.secrets:
            message = f"endpoint {self.name!r} has no signing secret"
            raise UsageError(message)


def make_headers(
    claimed: ClaimedDelivery, endpoint: Endpoint, *, now_s: float, ids: IdMint
) -> Mapping[str, str]:
    """
    Return the headers of one attempt: the same id as ever, a time and signature of its own.
    """
    timestamp_s = int(now_s)
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        ID_HEADER: claimed.message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: sign(
            claimed.message_id, timestamp_s, claimed.body, secrets=endpoint.secrets
        ),
    }
    if endpoint.body_format is WebhookFormat.ARTICLE:
        headers[ARTICLE_HEADER] = sign_article(claimed.body, secret=endpoint.secrets[0])
    if claimed.trace_id is not None:
        headers["traceparent"] = f"00-{claimed.trace_id}-{ids.span_id()}-01"
    return headers
