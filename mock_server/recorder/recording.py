"""
What has been recorded so far, bounded, and the script that it makes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mock_server.documents import parse_document
from mock_server.recorder.document import yaml_text
from mock_server.recorder.recorded import Recorded, UnreadableError
from mock_server.recorder.redaction import SECRETS_MAX, Redactor
from mock_server.recorder.rules import rules_of
from mock_server.script import script_of

_REASONS_MAX: Final = 100
_OTHER_REASONS: Final = "for further reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingLimits:
    """
    What a recording holds at most.
    """

    exchanges_max: int = 10_000
    """Further ones are passed on and not recorded."""

    kept_bytes_max: int = 64 * 1024 * 1024
    """Of texts and delays together."""

    body_bytes_max: int = 16 * 1024 * 1024
    """A larger request is refused; a larger answer is passed on and not recorded."""

    request_read_timeout_s: float = 60.0
    """A request that is not whole by then is refused."""


class TooMuchError(UnreadableError):
    """
    The recording is full.
    """


@dataclass(slots=True)
class Recording:
    """
    Exchanges in the order in which they ended, and the secrets seen on the way.
    """

    limits: RecordingLimits = field(default_factory=RecordingLimits)
    exchanges: list[Recorded] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    skipped: dict[str, int] = field(default_factory=dict)
    """What is not in the script, by reason."""

    kept_bytes: int = 0

    def hide(self, secrets: Iterable[str]) -> None:
        """
        Keep these out of the script, wherever they stand.

        Raises:
            TooMuchError: There are too many to look for.
        """
        known = self.secrets | set(secrets)
        if len(known) > SECRETS_MAX:
            message = f"more than {SECRETS_MAX} different secrets were used"
            raise TooMuchError(message)
        self.secrets = known

    def add(self, recorded: Recorded) -> None:
        """
        Keep an exchange.

        Raises:
            TooMuchError: There is no room for it.
        """
        limits = self.limits
        if len(self.exchanges) >= limits.exchanges_max:
            message = f"there are {limits.exchanges_max} exchanges already"
            raise TooMuchError(message)
        if self.kept_bytes + recorded.kept_bytes > limits.kept_bytes_max:
            message = f"more than {limits.kept_bytes_max} bytes were recorded"
            raise TooMuchError(message)
        self.exchanges.append(recorded)
        self.kept_bytes += recorded.kept_bytes

    def skip(self, reason: str) -> int:
        """
        Count an exchange that is not recorded, and return how often that was so.
        """
        if reason not in self.skipped and len(self.skipped) >= _REASONS_MAX:
            reason = _OTHER_REASONS
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        return self.skipped[reason]

    def script_text(self, *, source: str) -> str:
        """
        Return the script that gives the recorded answers again.

        Args:
            source: Where they come from, for the head of the file.
        """
        redact = Redactor(self.secrets)
        rules = rules_of(self.exchanges, redact)
        comments = [f"Recorded from {redact(source)}: {len(self.exchanges)} exchanges."]
        comments += [
            f"Not in it: {redact(reason)} ({count} times)."
            for reason, count in self.skipped.items()
        ]
        return yaml_text({"upstream": {"script": rules}}, comments=comments)


def check_script_text(text: str, *, file: str) -> int:
    """
    Lint a script's text and return how many rules it has.

    Raises:
        DocumentError: It has mistakes.
    """
    return len(script_of(parse_document(text, file=file)).upstream.script)
