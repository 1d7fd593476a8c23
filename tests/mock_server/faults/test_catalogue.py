"""
The catalogue: complete, documented, and the same everywhere.
"""

from pathlib import Path

import pytest

from mock_server.faults import CATALOGUE, FAMILIES, Fault, catalogue_page
from mock_server.faults import describe_catalogue as describe
from mock_server.script import FaultScript

ROOT = Path(__file__).resolve().parents[3]

WANTED = [
    "status",
    "rate_limited",
    "quota_exhausted",
    "context_length_exceeded",
    "model_not_found",
    "invalid_api_key",
    "server_overloaded",
    "content_filtered",
    "redirect",
    "error_in_200",
    "html_page",
    "empty_body",
    "wrong_content_type",
    "content_length",
    "bad_gzip",
    "header_flood",
    "request_id",
    "rate_limit_headers",
    "refuse",
    "close_before_headers",
    "reset_before_headers",
    "reset_in_body",
    "black_hole",
    "slow_headers",
    "drip",
    "bandwidth",
    "cut_at_byte",
    "stale_keep_alive",
    "disconnect",
    "truncate",
    "missing_done",
    "done_without_finish",
    "stall",
    "stall_with_comments",
    "malformed_event",
    "error_event",
    "duplicate_event",
    "drop_event",
    "reorder_events",
    "wrong_index",
    "changing_id",
    "split",
    "framing",
    "giant_event",
    "empty_deltas",
    "late_tool_name",
    "split_tool_name",
    "missing_index",
    "usage",
    "arguments",
    "schema_violation",
    "unknown_tool",
    "near_miss_tool",
    "tool_not_offered",
    "tool_despite_none",
    "forced_tool_ignored",
    "call_id",
    "doom_loop",
    "fan_out",
    "legacy_function_call",
    "finish_reason",
    "choices",
    "content",
    "refusal",
    "reasoning_only",
    "model_name",
    "prompt_injection",
    "never_answers",
    "slow",
    "lost_reply",
    "not_json",
    "huge_result",
    "injection_in_result",
    "wrong_value",
    "stale_value",
    "finishes_out_of_order",
    "lost_ack",
    "gone",
    "redirect_to",
    "endless_body",
    "gzip_bomb",
    "down_for",
    "delay",
    "duplicate",
    "drop",
    "reorder",
    "early",
    "bad_signature",
    "missing_signature",
    "wrong_secret",
    "retired_secret",
    "body_changed",
    "body_reserialized",
    "stale_timestamp",
    "future_timestamp",
    "replayed_id",
    "same_id_other_body",
    "rival_result",
    "unknown_call",
    "compressed",
    "oversized",
    "garbage",
]


def test_is_complete() -> None:
    """
    Every fault that was promised is there, and every one that is there is listed once.
    """
    listed = [fault.name for family in FAMILIES.values() for fault in family]

    assert set(WANTED) <= set(CATALOGUE)
    assert len(listed) == len(set(listed)) == len(CATALOGUE)


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=lambda fault: fault.name)
def test_each_says_what_it_does(fault: type[Fault]) -> None:
    """
    A fault has a summary, a surface, and no parameter that a schedule is called by.
    """
    schedule = {
        info.alias or name for name, info in FaultScript.model_fields.items()
    } | set(FaultScript.model_fields)

    assert fault.__doc__
    assert fault.__doc__ != Fault.__doc__
    assert fault.targets
    assert not schedule & set(fault.model_fields)
    fault()  # every parameter has a default


def test_the_page_is_current() -> None:
    """
    The documentation is what the catalogue says.
    """
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")

    assert page == catalogue_page() + "\n", (
        "python -m mock_server.faults > docs/faults.md"
    )


def test_the_flag_lists_all() -> None:
    """
    The printed catalogue names every fault with its parameters and defaults.
    """
    text = describe()

    for name, fault in CATALOGUE.items():
        part = text[text.index(f"{name}  [") :].split("\n\n")[0]
        assert all(f"- {field}: " in part for field in fault.model_fields)
