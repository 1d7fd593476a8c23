"""
Where the model API is and how much is taken from it.
"""

from dataclasses import dataclass, field

from yarl import URL

from harness.errors import UsageError, check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """
    Where the model API is and how much is taken from it.
    """

    base_url: str
    """Ends where ``/chat/completions`` is appended, mostly in ``/v1``."""

    api_key: str = field(repr=False)
    """Sent as bearer token; in no error, event or text of ours."""

    answer_bytes_max: int = 8 * 1024 * 1024
    """A longer answer is refused, streamed or not."""

    event_bytes_max: int = 1024 * 1024
    """A longer event of a stream is refused."""

    error_bytes_max: int = 64 * 1024
    """Of the body of an error no more is read."""

    error_timeout_s: float = 1.0
    """How long the body of an error may take: the status is known by then."""

    drain_timeout_s: float = 0.1
    """How long a stream may stay open behind its last event to be used again."""

    def __post_init__(self) -> None:
        check_options(
            self,
            base_url=_is_web_address(self.base_url),
            answer_bytes_max=self.answer_bytes_max > 0,
            event_bytes_max=self.event_bytes_max > 0,
            error_bytes_max=self.error_bytes_max > 0,
            error_timeout_s=self.error_timeout_s > 0,
            drain_timeout_s=self.drain_timeout_s >= 0,
        )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            # Not by check_options, whose error shows the value.
            message = "the API key holds characters that fit no header"
            raise UsageError(message)


def _is_web_address(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and url.user is None
