"""
A scenario file becomes values: what the outside does, what load comes, what must hold.
"""

from harness.scenario.base import ScenarioModel
from harness.scenario.expectation import (
    CircuitExpectation,
    CountExpectation,
    Expectation,
    LastsExpectation,
    MetricExpectation,
    NeverExpectation,
    Repeat,
    SometimesExpectation,
    WithinExpectation,
)
from harness.scenario.expectation_parts import (
    CircuitCondition,
    EventMatch,
    format_value,
)
from harness.scenario.faults import PlannedFault, planned_faults
from harness.scenario.kinds import CALLER_KINDS, KINDS, MOCK_KINDS, SERVICE_KINDS
from harness.scenario.lint import LintFinding, lint
from harness.scenario.load import (
    find,
    load,
    load_settings,
    parse,
    scenario_names,
    schema,
    schema_text,
)
from harness.scenario.metric import METRICS, Metric, Unit, find_metric
from harness.scenario.model import MOCK_KEYS, Scenario
from harness.scenario.phase import Mode, OpenPhase, Phase, Send
from harness.scenario.promise import (
    BreakerPromise,
    ChatPromise,
    Promise,
    RateLimitPromise,
    RetryBudgetPromise,
    ToolsPromise,
    UpstreamPromise,
    WebhookPromise,
    promise_of_settings,
)
from harness.scenario.shorten import shorten
from harness.scenario.workload import ARRIVALS_MAX, Arrival, arrivals, expected_arrivals
from mock_server.documents import (
    Document,
    DocumentError,
    Mistake,
    format_path,
    parse_document,
    read_document,
    validate_document,
)

__all__ = [
    "ARRIVALS_MAX",
    "CALLER_KINDS",
    "KINDS",
    "METRICS",
    "MOCK_KEYS",
    "MOCK_KINDS",
    "SERVICE_KINDS",
    "Arrival",
    "BreakerPromise",
    "ChatPromise",
    "CircuitCondition",
    "CircuitExpectation",
    "CountExpectation",
    "Document",
    "DocumentError",
    "EventMatch",
    "Expectation",
    "LastsExpectation",
    "LintFinding",
    "Metric",
    "MetricExpectation",
    "Mistake",
    "Mode",
    "NeverExpectation",
    "OpenPhase",
    "Phase",
    "PlannedFault",
    "Promise",
    "RateLimitPromise",
    "Repeat",
    "RetryBudgetPromise",
    "Scenario",
    "ScenarioModel",
    "Send",
    "SometimesExpectation",
    "ToolsPromise",
    "Unit",
    "UpstreamPromise",
    "WebhookPromise",
    "WithinExpectation",
    "arrivals",
    "expected_arrivals",
    "find",
    "find_metric",
    "format_path",
    "format_value",
    "lint",
    "load",
    "load_settings",
    "parse",
    "parse_document",
    "planned_faults",
    "promise_of_settings",
    "read_document",
    "scenario_names",
    "schema",
    "schema_text",
    "shorten",
    "validate_document",
]
