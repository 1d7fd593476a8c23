"""
What the service tells about itself: event log, metrics, traces, logs without secrets.
"""

from harness.telemetry.event_log import EventLog, to_record
from harness.telemetry.logs import JsonFormatter, configure_logging
from harness.telemetry.metrics import Metrics
from harness.telemetry.redaction import REDACTED, RedactionFilter, Redactor
from harness.telemetry.tracing import format_traceparent, parse_traceparent

__all__ = [
    "REDACTED",
    "EventLog",
    "JsonFormatter",
    "Metrics",
    "RedactionFilter",
    "Redactor",
    "configure_logging",
    "format_traceparent",
    "parse_traceparent",
    "to_record",
]
