"""
The kinds of records that an event log can hold.
"""

from typing import Final

from harness.events import Event

SERVICE_KINDS: Final = frozenset(event.kind for event in Event.__subclasses__())
"""What the reference service says of itself; another service may say nothing."""

CALLER_KINDS: Final = frozenset(
    {
        "run_started",
        "run_ended",
        "call_offered",
        "call_started",
        "call_dropped",
        "call_accepted",
        "call_ended",
        "generator_sampled",
        "bench_sampled",
        "service_exited",
        "service_killed",
        "service_measured",
        "service_restarted",
    }
)

MOCK_KINDS: Final = frozenset(
    {
        "mock_started",
        "scenario_started",
        "upstream_request_received",
        "upstream_request_ended",
        "fault_applied",
        "fault_added",
        "fault_removed",
        "tool_executed",
        "tool_refused",
        "webhook_received",
        "webhook_emitted",
        "script_error",
        "script_reloaded",
        "script_refused",
        "journal_dropped",
    }
)

KINDS: Final = SERVICE_KINDS | CALLER_KINDS | MOCK_KINDS
