"""
Puts breakers through the corpus and writes down what came of it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from harness.testing.breaker_corpus.adapter import (
    BreakerAdapter,
    BreakerSettings,
    NotOfferedError,
)
from harness.testing.breaker_corpus.properties import PROPERTIES
from harness.testing.breaker_corpus.transcripts import play, transcripts
from harness.testing.breaker_corpus.trial import run_trial


class Kept(StrEnum):
    """
    What a breaker makes of a property.
    """

    YES = "yes"
    NO = "no"
    NOT_OFFERED = "none"
    """What the property is about is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What came of one property or transcript.
    """

    kept: Kept
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """
    All that came of one breaker.
    """

    distribution: str
    version: str
    properties: Mapping[str, Finding]
    transcripts: Mapping[str, Finding]

    @property
    def kept(self) -> int:
        """
        How many properties it keeps.
        """
        return sum(found.kept is Kept.YES for found in self.properties.values())


def check_property(breaker: type[BreakerAdapter], name: str) -> Finding:
    """
    Put a fresh breaker to one of the sixteen properties.
    """
    try:
        run_trial(breaker, BreakerSettings(), PROPERTIES[name])
    except NotOfferedError as error:
        return Finding(kept=Kept.NOT_OFFERED, reason=f"it has no {error}")
    except Exception as error:  # noqa: BLE001 - whatever the breaker breaks with is a finding
        return Finding(kept=Kept.NO, reason=str(error) or type(error).__name__)
    return Finding(kept=Kept.YES)


def check_transcripts(breaker: type[BreakerAdapter]) -> Mapping[str, Finding]:
    """
    Play every transcript to fresh breakers.
    """
    found = {}
    for transcript in transcripts():
        try:
            play(transcript, breaker)
        except NotOfferedError as error:
            finding = Finding(kept=Kept.NOT_OFFERED, reason=f"it has no {error}")
        except Exception as error:  # noqa: BLE001 - as above
            finding = Finding(kept=Kept.NO, reason=str(error) or type(error).__name__)
        else:
            finding = Finding(kept=Kept.YES)
        found[transcript.name] = finding
    return found


def check_breaker(breaker: type[BreakerAdapter]) -> Column:
    """
    Put a breaker through the whole corpus.
    """
    return Column(
        distribution=breaker.distribution,
        version=metadata.version(breaker.distribution),
        properties={name: check_property(breaker, name) for name in PROPERTIES},
        transcripts=check_transcripts(breaker),
    )


def as_markdown(columns: Sequence[Column]) -> str:
    """
    Return the table: a row per property, a column per breaker.
    """
    rows = [
        ["", *(f"{column.distribution} {column.version}" for column in columns)],
        ["---", *(":---:" for _ in columns)],
    ]
    rows += [
        [name, *(column.properties[name].kept for column in columns)]
        for name in PROPERTIES
    ]
    rows.append(["**kept, of sixteen**", *(f"**{column.kept}**" for column in columns)])
    rows.append(["transcripts held, of those playable", *map(_played, columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def reasons(columns: Sequence[Column]) -> str:
    """
    Return what each broken property looked like.
    """
    lines = []
    for column in columns:
        for name, found in column.properties.items():
            if found.kept is Kept.NO:
                lines.append(f"- {column.distribution}, {name}: {found.reason}")
    return "\n".join(lines)


def _played(column: Column) -> str:
    counts = Counter(found.kept for found in column.transcripts.values())
    return f"{counts[Kept.YES]} of {counts[Kept.YES] + counts[Kept.NO]}"
