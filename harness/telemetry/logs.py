"""
Logs as JSON lines on standard error.
"""

import datetime as dt
import logging
import sys
from typing import TextIO

import orjson

from harness.events import current_trace_id
from harness.telemetry.redaction import RedactionFilter, Redactor

_LOGGERS = ("harness", "aiohttp", "asyncio")


class JsonFormatter(logging.Formatter):
    """
    One JSON object per record, with the trace it belongs to.
    """

    def format(self, record: logging.LogRecord) -> str:
        """
        Return the record as a line of JSON.
        """
        when = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (trace_id := current_trace_id()) is not None:
            line["trace_id"] = trace_id
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["traceback"] = record.exc_text
        return orjson.dumps(line).decode()


def configure_logging(
    *,
    redactor: Redactor,
    level: int = logging.WARNING,
    stream: TextIO | None = None,
) -> logging.Handler:
    """
    Send what the service and its libraries log to ``stream`` as JSON lines.

    Returns:
        The handler, so that its owner can take it away again.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RedactionFilter(redactor))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
        logger.propagate = False
    return handler
