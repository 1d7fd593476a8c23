"""
What a rule answers when it is asked about a timeline.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FINDINGS_MAX: Final = 10
"""So many breaches of one rule are told one by one; the rest is counted."""

EVIDENCE_MAX: Final = 40
"""So many events show a breach."""


class Status(StrEnum):
    """
    What became of an expectation, an invariant or a check.
    """

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    Something that was seen, and the events that show it.
    """

    message: str
    events: tuple[int, ...] = ()
    """Numbers (``seq``) of events, the one that breaks the rule first."""

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a summary.
        """
        return {"message": self.message, "events": list(self.events)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """
    One rule's answer.
    """

    id: str
    status: Status
    figures: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in a summary.
        """
        return {
            "id": self.id,
            "status": self.status.value,
            "figures": dict(self.figures),
            "findings": [finding.to_json() for finding in self.findings],
        }


def finding(message: str, events: Iterable[int | None] = ()) -> Finding:
    """
    Return a finding; events that are not known are left out, others named once.
    """
    known = dict.fromkeys(event for event in events if event is not None)
    return Finding(message=message, events=tuple(known)[:EVIDENCE_MAX])


def rule(
    id_: str,
    *,
    judged: int,
    broken: Sequence[Finding] = (),
    unknown: Sequence[Finding] = (),
    figures: Mapping[str, Any] | None = None,
    nothing: str = "nothing of the kind happened",
) -> Ruling:
    """
    Return the ruling of a rule that was applied to a number of cases.

    Args:
        id_: The rule.
        judged: How many cases could be decided.
        broken: The cases that break the rule, the first in time first.
        unknown: Cases in which nobody can tell.
        figures: What was measured.
        nothing: Why there was nothing to decide, if there was not.
    """
    measured = {"judged": judged, **(figures or {})}
    if broken:
        first = sorted(broken, key=lambda each: each.events[:1] or (0,))
        told = tuple(first[:FINDINGS_MAX])
        return Ruling(
            id=id_,
            status=Status.FAILED,
            figures=measured | {"broken": len(broken)},
            findings=told,
        )
    if unknown:
        return Ruling(
            id=id_,
            status=Status.INCONCLUSIVE,
            figures=measured | {"unknown": len(unknown)},
            findings=tuple(unknown[:FINDINGS_MAX]),
        )
    if judged == 0:
        return skipped(id_, nothing)
    return Ruling(id=id_, status=Status.PASSED, figures=measured)


def skipped(id_: str, reason: str) -> Ruling:
    """
    Return the ruling of a rule that does not apply.
    """
    return Ruling(id=id_, status=Status.SKIPPED, findings=(Finding(message=reason),))


def inconclusive(
    id_: str,
    reason: str,
    *,
    figures: Mapping[str, Any] | None = None,
    events: Iterable[int | None] = (),
) -> Ruling:
    """
    Return the ruling of a rule that could not be decided.
    """
    return Ruling(
        id=id_,
        status=Status.INCONCLUSIVE,
        figures=figures or {},
        findings=(finding(reason, events),),
    )
