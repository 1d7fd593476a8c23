"""
Secrets stay out of logs, events and answers.

Known secrets are replaced wherever they stand; what looks like a credential is
replaced as well, because a peer may echo one that was never ours.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"

DEPTH_MAX = 32
"""Values nested deeper are replaced as a whole."""

_SECRET_CHARS_MIN = 4
"""A shorter secret would blank out ordinary text."""

_LOOKS_SECRET = re.compile(
    r"(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{4,}"
    r"|\bwhsec_[A-Za-z0-9+/=_-]+"
    r"|\bsk-[A-Za-z0-9_-]{6,}"
)


class Redactor:
    """
    Replaces secrets in texts and values.

    Args:
        secrets: The secrets that are known; empty and very short ones are skipped.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SECRET_CHARS_MIN}
        # The longest first, so that a secret inside another one leaves no rest.
        escaped = [re.escape(secret) for secret in sorted(known, key=len, reverse=True)]
        self._known = re.compile("|".join(escaped)) if escaped else None

    def __repr__(self) -> str:
        return "Redactor()"

    def text(self, text: str) -> str:
        """
        Return ``text`` with every secret replaced.
        """
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return _LOOKS_SECRET.sub(REDACTED, text)

    def value(self, value: Any, *, depth_max: int = DEPTH_MAX) -> Any:
        """
        Return a JSON value with every secret in its texts and keys replaced.
        """
        if depth_max <= 0:
            return REDACTED
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {
                    self.text(str(key)): self.value(item, depth_max=depth_max - 1)
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self.value(item, depth_max=depth_max - 1) for item in value]
            case _:
                return value


class RedactionFilter(logging.Filter):
    """
    Replaces secrets in log records, their arguments and tracebacks included.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """
        Rewrite the record; it is always kept.
        """
        record.msg = self._redactor.text(record.getMessage())
        record.args = None
        if record.exc_info:
            text = self._formatter.formatException(record.exc_info)
            record.exc_text = self._redactor.text(text)
        return True
