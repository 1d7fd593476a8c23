"""
Every way in which an answer can say how long to wait, right and wrong.
"""

import math
import re
from email.utils import formatdate, parsedate_to_datetime
from enum import StrEnum

from pydantic import Field

from mock_server.faults.fault import Fault
from mock_server.units import Duration

Headers = tuple[tuple[str, str], ...]
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


class RetryAfterForm(StrEnum):
    """
    How a wait is written down.
    """

    SECONDS = "seconds"
    """``retry-after`` in whole seconds, rounded up."""

    DECIMALS = "decimals"
    """``retry-after`` with decimals, like ``1.5``."""

    MILLISECONDS = "milliseconds"
    """``retry-after-ms`` alone."""

    BOTH = "both"
    """``retry-after`` and ``retry-after-ms`` that agree."""

    DISAGREEING = "disagreeing"
    """``retry-after-ms`` says the wait, ``retry-after`` ten times as much."""

    DATE = "date"
    """``retry-after`` as an HTTP date, never earlier than asked."""

    PAST_DATE = "past_date"
    """An HTTP date as long ago."""

    ZERO = "zero"
    NEGATIVE = "negative"
    NAN = "nan"
    GARBAGE = "garbage"
    """A word."""

    ABSENT = "absent"
    """No header at all."""


class SaysWhen(Fault):
    """
    Parameters of the faults that can carry a wait.
    """

    retry_after: Duration | None = None
    """How long the caller is asked to wait."""

    retry_after_form: RetryAfterForm = RetryAfterForm.SECONDS
    """How that is written in the headers."""

    should_retry: bool | None = Field(default=None)
    """``x-should-retry``, which overrides the status for the official SDKs."""

    def retry_headers(self, wall_s: float) -> Headers:
        """
        Return the headers that ask for the wait.
        """
        flag: Headers = ()
        if self.should_retry is not None:
            flag = (("x-should-retry", str(self.should_retry).lower()),)
        if self.retry_after is None:
            return flag
        return (
            retry_after_headers(self.retry_after, self.retry_after_form, wall_s) + flag
        )


def retry_after_headers(delay_s: float, form: RetryAfterForm, wall_s: float) -> Headers:
    """
    Return the headers that ask for a wait in that form.
    """
    seconds = ("retry-after", str(math.ceil(delay_s)))
    milliseconds = ("retry-after-ms", str(math.ceil(delay_s * 1000)))
    forms: dict[RetryAfterForm, Headers] = {
        RetryAfterForm.SECONDS: (seconds,),
        RetryAfterForm.DECIMALS: (("retry-after", f"{delay_s:.3f}"),),
        RetryAfterForm.MILLISECONDS: (milliseconds,),
        RetryAfterForm.BOTH: (seconds, milliseconds),
        RetryAfterForm.DISAGREEING: (
            ("retry-after", str(math.ceil(delay_s * 10))),
            milliseconds,
        ),
        RetryAfterForm.DATE: (("retry-after", _date(math.ceil(wall_s + delay_s))),),
        RetryAfterForm.PAST_DATE: (("retry-after", _date(int(wall_s - delay_s))),),
        RetryAfterForm.ZERO: (("retry-after", "0"),),
        RetryAfterForm.NEGATIVE: (("retry-after", str(-math.ceil(delay_s))),),
        RetryAfterForm.NAN: (("retry-after", "nan"),),
        RetryAfterForm.GARBAGE: (("retry-after", "soon"),),
        RetryAfterForm.ABSENT: (),
    }
    return forms[form]


def asked_delay_s(headers: Headers, wall_s: float) -> float | None:
    """
    Return the seconds that an answer asks its caller to wait, if it says so rightly.

    The milliseconds come first, as they do for the official SDKs.
    """
    values = {name.lower(): value for name, value in headers}
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = values.get(name, "")
        if _NUMBER.fullmatch(text):
            return float(text) * unit_s
    try:
        date_s = parsedate_to_datetime(values.get("retry-after", "")).timestamp()
    except ValueError:
        return None
    return date_s - wall_s if date_s >= wall_s else None


def _date(wall_s: float) -> str:
    return formatdate(wall_s, usegmt=True)
