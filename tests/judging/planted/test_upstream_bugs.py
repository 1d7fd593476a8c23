"""
Bugs in how the model API is asked, planted in the reference service.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from yarl import URL

from harness.errors import UpstreamError
from harness.resilience import Attempt, Classified, RateLimiter
from harness.resilience.backoff import envelope_s
from harness.settings import ServiceSettings
from harness.upstream import Completion, UpstreamClient, classify
from harness.upstream.assembly import finish_completion
from harness.upstream.chat_completions import encode_request
from harness.upstream.model import FinishReason

FLAKY: Mapping[str, Any] = {
    "service": {
        "breaker": {"failure_threshold": 50},
        "upstream": {"attempts_max": 3, "backoff_base": "500ms"},
    },
    "workload": [{"arrivals": "10/s", "for": "12s", "send": {"message": "hello"}}],
}


def with_fault(**fault: Any) -> dict[str, Any]:
    """
    Return a service under load whose model API has a fault.
    """
    return {**FLAKY, "upstream": {"faults": [fault]}}


def test_retry_on_400(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A permanent error that is asked again is found at the second request.
    """

    def retry_all(error: BaseException | None) -> Classified:
        return dataclasses.replace(classify(error), retryable=error is not None)

    found = hunt(
        with_fault(fault="status", status=400, injection_rate=0.2),
        lambda: monkeypatch.setattr("harness.service.graph.classify", retry_all),
    )

    assert found.failed == {5}
    assert found.witness(5)["kind"] == "upstream_request_received"


def test_retry_after_date_ignored(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A wait that is asked for as a date, and not kept, is found at the early request.
    """
    found = hunt(
        with_fault(
            fault="rate_limited",
            retry_after="4s",
            retry_after_form="date",
            injection_rate=0.1,
        ),
        lambda: monkeypatch.setattr(
            "harness.resilience.retry_after._until_date", lambda *_: None
        ),
    )

    assert found.failed == {6}
    assert found.witness(6)["attempt_number"] > 1


def test_no_jitter(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Retries that all wait the same time are found by their delays.
    """
    found = hunt(
        with_fault(fault="status", status=503, injection_rate=0.2),
        lambda: monkeypatch.setattr(
            "harness.resilience.retry.delay_s",
            lambda options, number, **_: envelope_s(options, number),
        ),
    )

    assert found.failed == {7}
    assert found.witness(7)["kind"] == "retry_scheduled"


def test_no_retry_budget(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Retries beyond their budget are found when everything fails.
    """
    found = hunt(
        with_fault(fault="status", status=409),
        lambda: monkeypatch.setattr(
            "harness.resilience.registry.make_budget", lambda *_, **__: None
        ),
    )

    assert found.failed == {8}
    assert found.witness(8)["attempt_number"] > 1


def test_new_key_per_attempt(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An idempotency key of each attempt's own is found at the second one.
    """
    key = property(lambda self: f"{self.execution.idempotency_key}-{self.number}")

    found = hunt(
        with_fault(fault="status", status=503, injection_rate=0.2),
        lambda: monkeypatch.setattr(Attempt, "idempotency_key", key),
    )

    assert found.failed == {9}
    assert found.witness(9)["attempt_number"] == 2


def test_key_from_a_hash_of_the_prompt(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Two calls that ask the same and share a key are found at the second one.
    """
    exchange = UpstreamClient._exchange

    async def hashed(
        self: UpstreamClient, url: URL, body: bytes, attempt: Attempt, **rest: Any
    ) -> Any:
        asked = re.sub(r" \[#\w+\]", "", json.loads(body)["messages"][-1]["content"])
        attempt.execution._key = hashlib.sha256(asked.encode()).hexdigest()
        return await exchange(self, url, body, attempt, **rest)

    found = hunt({}, lambda: monkeypatch.setattr(UpstreamClient, "_exchange", hashed))

    assert found.failed == {9}
    assert found.witness(9)["attempt_number"] == 1


def test_retry_after_the_deadline(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An attempt that comes after the total timeout is found.
    """
    orchestrator_options = ServiceSettings.orchestrator_options
    pipeline_options = ServiceSettings.pipeline_options

    def plant() -> None:
        monkeypatch.setattr(
            ServiceSettings,
            "orchestrator_options",
            lambda self: dataclasses.replace(
                orchestrator_options(self), total_timeout_s=60.0
            ),
        )
        monkeypatch.setattr(
            ServiceSettings,
            "pipeline_options",
            lambda self: dataclasses.replace(
                pipeline_options(self), total_timeout_s=60.0
            ),
        )

    found = hunt(
        {
            "upstream": {"faults": [{"fault": "black_hole", "injection_rate": 0.4}]},
            "service": {
                "breaker": {"failure_threshold": 50},
                "upstream": {
                    "attempts_max": 3,
                    "attempt_timeout": "1500ms",
                    "total_timeout": "2s",
                    "backoff_base": "100ms",
                },
            },
        },
        plant,
    )

    assert found.failed == {4}
    assert found.witness(4)["attempt_number"] == 3


def test_truncated_stream_accepted(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An answer that stops in the middle and is passed on as whole is found.
    """

    def finish_anyhow(*, finish_reason: str | None, **rest: Any) -> Completion:
        return finish_completion(finish_reason=finish_reason or "stop", **rest)

    found = hunt(
        {
            "upstream": {"faults": [{"fault": "truncate", "injection_rate": 0.3}]},
            "workload": [
                {
                    "arrivals": "5/s",
                    "for": "6s",
                    "send": {"message": "hello", "mode": "stream"},
                }
            ],
            "service": {"breaker": {"failure_threshold": 50}},
        },
        lambda: monkeypatch.setattr(
            "harness.upstream.assembly.finish_completion", finish_anyhow
        ),
    )

    assert found.failed == {3}
    assert found.witness(3)["outcome"] == "answered"


def test_made_up_answer(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A success that no answer of the model API stands behind is found at its end.
    """
    complete = UpstreamClient.complete

    async def smile(self: UpstreamClient, *words: Any, **rest: Any) -> Completion:
        try:
            return await complete(self, *words, **rest)
        except UpstreamError:
            return Completion(
                text="All is well.", tool_calls=(), finish_reason=FinishReason.STOP
            )

    found = hunt(
        with_fault(fault="status", status=400, injection_rate=0.2),
        lambda: monkeypatch.setattr(UpstreamClient, "complete", smile),
    )

    assert found.failed == {2}
    assert found.witness(2)["answer"] == "All is well."


def test_one_result_of_two_left_out(hunt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A tool call whose result does not reach the model is found in the next request.
    """

    def forgetful(request: Any, **rest: Any) -> bytes:
        results = [each for each in request.messages if each["role"] == "tool"]
        kept = [each for each in request.messages if each not in results[1:]]
        return encode_request(dataclasses.replace(request, messages=kept), **rest)

    found = hunt(
        {
            "workload": [
                {"arrivals": "3/s", "for": "4s", "send": {"message": "both, please"}}
            ]
        },
        lambda: monkeypatch.setattr(
            "harness.upstream.client.encode_request", forgetful
        ),
    )

    assert found.failed == {11}
    assert found.witness(11)["kind"] == "upstream_request_received"


def test_limiter_reset_at_the_windows_edge(
    hunt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A limiter that counts by fixed windows lets two bursts out around an edge.
    """
    burst, window_s = 20, 4.0
    granted: dict[int, int] = {}

    async def by_windows(self: RateLimiter, inner: Any, attempt: Attempt) -> Any:
        clock = self._clock
        while True:
            window = int((clock.monotonic() - 1_000) / window_s)
            if granted.get(window, 0) < burst:
                granted[window] = granted.get(window, 0) + 1
                return await inner(attempt)
            await clock.sleep(window_s - (clock.monotonic() - 1_000) % window_s)

    found = hunt(
        {
            "service": {"rate_limit": {"rate": "5/s", "burst": burst}},
            "workload": [
                {"arrivals": "1/s", "for": "3s", "send": {"message": "hello"}},
                {"arrivals": "25/s", "for": "2s", "send": {"message": "hello"}},
            ],
        },
        lambda: monkeypatch.setattr(RateLimiter, "execute", by_windows),
    )

    assert found.failed == {19}
    assert found.witness(19)["kind"] == "upstream_request_received"
