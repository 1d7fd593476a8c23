"""
The breaker's promise, judged from what reaches the model API.

So many failures in a row open the circuit, and nothing new reaches the model API for
the break duration. Which attempts are new, and when the circuit was certainly open, is
bounded by causality (:mod:`harness.judging.causality`):

- If so many failures were all admitted after a moment *g* and noticed by a moment *t*,
  and no success can have been noticed in between, then the circuit has opened after
  *g*, whatever its state was at *g*, and stays open until *g* + break duration. An
  attempt that was certainly admitted after *t* must not arrive before that.
- A probe that was admitted after the circuit was certainly open, and failed, opens it
  again, unless enough successes came in between to have closed it.

Attempts in flight when the circuit opens are excepted by construction.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.judging.breaker_outcomes import (
    FailureRuns,
    Successes,
    ended_us,
    noticed_us,
)
from harness.judging.causality import NEVER_US, Health, Span, spans_of
from harness.judging.ruling import Finding, finding
from harness.judging.timeline import Timeline
from harness.scenario import BreakerPromise, Promise


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """
    A stretch of time in which a circuit is certainly open.
    """

    from_us: int
    until_us: int
    causes: tuple[int, ...] = field(compare=False)
    """The records of the failures that opened it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerEvidence:
    """
    What the model API's side shows of a circuit.
    """

    windows: int
    """Stretches in which it was certainly open and calls came."""

    breaks: int
    """Pauses as long as promised, after so many failures, while calls came."""

    probes: int
    """Attempts that were certainly admitted after it had opened, before it could close."""

    forbidden: tuple[Finding, ...] = ()
    """Attempts that came while it was certainly open."""

    crowded: tuple[Finding, ...] = ()
    """Probes of which more were under way at once than promised."""

    refusals_us: tuple[int, ...] = ()
    """How long calls took that were refused while it was certainly open."""

    @property
    def was_exercised(self) -> bool:
        """
        Whether the rule was seen at work.
        """
        return bool(self.windows or self.breaks)


def breaker_evidence(timeline: Timeline, promise: Promise) -> BreakerEvidence:
    """
    Return what the mock saw of the circuits to the model API, models together.
    """
    breaker = promise.breaker or BreakerPromise()
    upstream = promise.upstream
    timeout_s = None if upstream is None else upstream.attempt_timeout
    spans = spans_of(timeline, attempt_timeout_s=timeout_s)
    successes = Successes(spans, timeout_s=timeout_s)
    evidence = []
    for model in sorted({span.attempt.model for span in spans}):
        mine = [span for span in spans if span.attempt.model == model]
        evidence.append(_Circuit(timeline, breaker, mine, successes).evidence())
    return BreakerEvidence(
        windows=sum(each.windows for each in evidence),
        breaks=sum(each.breaks for each in evidence),
        probes=sum(each.probes for each in evidence),
        forbidden=tuple(item for each in evidence for item in each.forbidden),
        crowded=tuple(item for each in evidence for item in each.crowded),
        refusals_us=tuple(item for each in evidence for item in each.refusals_us),
    )


class _Circuit:
    """
    The attempts for one model.
    """

    def __init__(
        self,
        timeline: Timeline,
        promise: BreakerPromise,
        spans: Sequence[Span],
        successes: Successes,
    ) -> None:
        self._timeline = timeline
        self._promise = promise
        self._spans = spans
        self._successes = successes
        self._break_us = timeline.slack.at_least_us(promise.break_duration)

    def evidence(self) -> BreakerEvidence:
        """
        Return what these attempts show.
        """
        windows = sorted(self._windows_of_runs())
        self._add_windows_of_probes(windows)
        used = [
            window
            for window in windows
            if self._timeline.calls_started(window.from_us, window.until_us)
        ]
        probes = list(self._probes(windows))
        return BreakerEvidence(
            windows=len(used),
            breaks=sum(1 for _ in self._breaks()),
            probes=len(probes),
            forbidden=tuple(self._forbidden(windows)),
            crowded=tuple(self._crowded(probes)),
            refusals_us=tuple(self._refusals_us(windows)),
        )

    def _failures(self) -> list[Span]:
        failures = [
            span
            for span in self._spans
            if span.health is Health.FAILURE
            and span.admitted_after_us is not None
            and span.noticed_by_us < NEVER_US
        ]
        return sorted(failures, key=lambda span: span.noticed_by_us)

    def _windows_of_runs(self) -> Iterator[Window]:
        """
        Yield the windows that so many failures in a row open.
        """
        latest: list[tuple[int, int]] = []
        for span in self._failures():
            admitted_us = span.admitted_after_us or 0
            heapq.heappush(latest, (admitted_us, span.attempt.ended_seq or 0))
            if len(latest) > self._promise.failure_threshold:
                heapq.heappop(latest)
            if len(latest) < self._promise.failure_threshold:
                continue
            since_us, by_us = latest[0][0], span.noticed_by_us
            until_us = since_us + self._break_us
            if by_us >= until_us or self._successes.may_fall(since_us, by_us):
                continue
            if self._timeline.is_disturbed(since_us, until_us):
                continue
            causes = tuple(sorted(seq for _, seq in latest))
            yield Window(by_us, until_us, causes)

    def _add_windows_of_probes(self, windows: list[Window]) -> None:
        """
        Add the windows that failed probes open, to windows in the order of time.
        """
        for span in self._failures():
            admitted_us, by_us = span.admitted_after_us or 0, span.noticed_by_us
            number = bisect_left(windows, admitted_us, key=lambda each: each.from_us)
            if number == 0:
                continue
            opened = windows[number - 1]
            until_us = admitted_us + self._break_us
            is_forbidden = span.attempt.received_us < opened.until_us
            if is_forbidden or by_us >= until_us:
                continue
            successes = self._successes.count(opened.from_us, by_us)
            if successes >= self._promise.successes_to_close:
                continue
            if not self._timeline.is_disturbed(opened.from_us, until_us):
                causes = (span.attempt.ended_seq or 0, *opened.causes)
                insort(windows, Window(by_us, until_us, causes))

    def _forbidden(self, windows: Sequence[Window]) -> Iterator[Finding]:
        """
        Yield the attempts that were certainly admitted, and came, in a window.
        """
        starts_us = [window.from_us for window in windows]
        longest: list[Window] = []
        for window in windows:
            before = longest[-1] if longest else window
            longest.append(max(before, window, key=lambda each: each.until_us))
        for span in self._spans:
            if span.admitted_after_us is None:
                continue
            number = bisect_left(starts_us, span.admitted_after_us)
            if number == 0:
                continue
            window = longest[number - 1]
            attempt = span.attempt
            if attempt.received_us < window.until_us:
                yield finding(
                    f"attempt {attempt.request_id} (event {attempt.seq}) reached the "
                    f"model API at {_text(attempt.received_us)}, while the circuit had "
                    f"to be open: it had opened by {_text(window.from_us)}, and nothing "
                    f"new may come before {_text(window.until_us)}",
                    [attempt.seq, *window.causes],
                )

    def _probes(self, windows: Sequence[Window]) -> Iterator[Span]:
        """
        Yield what was admitted after an opening and before the circuit can have closed.
        """
        starts_us = [window.from_us for window in windows]
        early_us = self._timeline.slack.fixed_us
        closes_us: dict[int, int] = {}
        for span in self._spans:
            if span.admitted_after_us is None:
                continue
            number = bisect_left(starts_us, span.admitted_after_us)
            if number == 0:
                continue
            opened_us = starts_us[number - 1]
            if opened_us not in closes_us:
                closes_us[opened_us] = self._successes.nth_end_us(
                    opened_us, self._promise.successes_to_close, early_us=early_us
                )
            received_us = span.attempt.received_us
            is_kept = not self._timeline.is_disturbed(opened_us, received_us)
            if received_us < closes_us[opened_us] and is_kept:
                yield span

    def _crowded(self, probes: Sequence[Span]) -> Iterator[Finding]:
        """
        Yield the probes that were one too many.
        """
        for index, span in enumerate(probes):
            received_us = span.attempt.received_us
            at_once = []
            for other in reversed(probes[: index + 1]):
                if other.attempt.received_us <= received_us - self._break_us:
                    break
                if self._is_under_way(other, received_us):
                    at_once.append(other)
            if len(at_once) > self._promise.probes_max:
                others = [other.attempt.seq for other in at_once]
                yield finding(
                    f"attempt {span.attempt.request_id} (event {span.attempt.seq}) is "
                    f"one of {len(at_once)} probes at once at {_text(received_us)}; "
                    f"{self._promise.probes_max} are promised",
                    [span.attempt.seq, *others],
                )

    def _is_under_way(self, span: Span, at_us: int) -> bool:
        """
        Say whether a probe certainly holds its slot, in the same half-open spell.
        """
        ended_us = span.attempt.ended_us
        is_open = ended_us is not None and ended_us > at_us
        was_given_up = span.attempt.outcome in {"abandoned", "hung"}
        # Between two half-open spells lies a break.
        is_same_spell = (span.admitted_after_us or 0) > at_us - self._break_us
        is_last = span.attempt.received_us == at_us
        return is_same_spell and (is_last or (is_open and not was_given_up))

    def _breaks(self) -> Iterator[tuple[int, int]]:
        """
        Yield the pauses that show the circuit open, without proof when it opened.
        """
        threshold = self._promise.failure_threshold
        # The service may have noticed them in another order than they were answered.
        answered = FailureRuns(self._spans, threshold, in_order_of=ended_us)
        noticed = FailureRuns(self._spans, threshold, in_order_of=noticed_us)
        received_us = [span.attempt.received_us for span in self._spans]
        ends_us = [*received_us[1:], self._timeline.end_us]
        for from_us, to_us in zip(received_us, ends_us, strict=True):
            if to_us - from_us < self._break_us:
                continue
            is_asked = self._timeline.calls_started(from_us, to_us) > 0
            has_tripped = [runs.tripped_by(to_us) for runs in (answered, noticed)]
            if any(has_tripped) and is_asked:
                yield from_us, to_us

    def _refusals_us(self, windows: Sequence[Window]) -> Iterator[int]:
        """
        Yield how long those calls took that came while the circuit was open.
        """
        for call in self._timeline.calls:
            ending, started_us = call.ending, call.started_us
            if ending is None or started_us is None or call.attempts:
                continue
            if ending.get("outcome") == "refused" and any(
                window.from_us < started_us < window.until_us for window in windows
            ):
                yield int(ending["time_us"]) - started_us


def _text(time_us: int) -> str:
    return f"{time_us / 1e6:.3f} s"
