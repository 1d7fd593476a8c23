"""
The state of a run as text: pure functions from state to what is painted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.style import Style
from rich.text import Text

from harness.report import RunState
from harness.units import format_duration

_QUIET: Final = "grey58"
"""What matters least, and can still be read on black and on white."""

STATE_STYLES: Final[Mapping[str, tuple[str, str, Style]]] = {
    "closed": ("C", "●", Style(color="black", bgcolor="green")),
    "half_open": ("H", "◐", Style(color="black", bgcolor="yellow")),
    "open": ("O", "○", Style(color="white", bgcolor="red", bold=True)),
    "isolated": ("I", "■", Style(color="white", bgcolor="magenta")),
    "disabled": ("D", "·", Style(color="white", bgcolor="bright_black")),
}
"""Letter, glyph and colour of each state: colour is never the only carrier."""

VERDICT_STYLES: Final[Mapping[str, str]] = {
    "passed": "bold green",
    "failed": "bold red",
    "inconclusive": "bold yellow",
    "invalid": "bold magenta",
}

_OUTCOME_STYLES: Final = {
    "answered": "green",
    "failed": "red",
    "unknown": _QUIET,
}
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BAR_LEVELS: Final = len(_BLOCKS) - 1
_GAP: Final = "  "
_NOT_SHOWN: Final = frozenset(
    {"seq", "time_us", "host", "kind", "trace_id", "from", "to"}
)
_FIRST: Final = ("circuit", "target", "fault", "outcome", "reason", "scenario")
"""What a line says first: the right end may be cut off."""

_ERROR_KINDS: Final = frozenset({"webhook_dead", "events_dropped", "script_error"})
_FAULT_KINDS: Final = frozenset({"fault_added", "fault_removed"})


def clock_text(seconds: float) -> str:
    """
    Return scenario time as minutes and seconds, with hours where there are any.
    """
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds_left:02d}"
    return f"{minutes:02d}:{seconds_left:02d}"


def header_text(
    manifest: Mapping[str, Any], state: RunState, *, waits_for: str = ""
) -> Text:
    """
    Return who runs, in which mode, with which seed, and how far.
    """
    if not manifest:
        return Text(waits_for, style="bold")
    text = Text.assemble((str(manifest.get("scenario", "")), "bold"), "  ")
    parts = [str(manifest.get("mode", "live"))]
    if "seed" in manifest:
        parts.append(f"seed {manifest['seed']}")
    clock = clock_text(state.now_s)
    if "duration_s" in manifest:
        clock += f" / {clock_text(float(manifest['duration_s']))}"
    return text.append(" · ".join([*parts, clock]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    Which kinds of record say what comes in and what becomes of it.
    """

    word: str
    arrival: str
    outcomes: Mapping[str, str]
    """The kind of record, or outcome, by the word for it; what is well first."""


CALLERS: Final = Seen(
    word="offered",
    arrival="call_offered",
    outcomes={
        "answered": "answered",
        "failed": "failed",
        "refused": "refused",
        "unknown": "unknown",
    },
)
_SERVICE: Final = Seen(
    word="chats",
    arrival="chat_received",
    outcomes={"answered": "chat_answered", "failed": "chat_failed"},
)
_MOCK: Final = Seen(
    word="requests",
    arrival="upstream_request_received",
    outcomes={"answered": "upstream_request_ended", "faults hit": "fault_applied"},
)


def seen(state: RunState) -> Seen:
    """
    Return who sees best what comes in.

    Callers are known to the bench alone; a service tells of chats, a mock of requests.
    """
    for each in (CALLERS, _SERVICE, _MOCK):
        if state.totals[each.arrival]:
            return each
    return CALLERS


def load_text(state: RunState) -> Text:
    """
    Return the rates of the callers, and how well the generator keeps up.
    """
    source = seen(state)
    text = Text(f"{source.word} ")
    text.append(f"{state.rate_per_s(source.arrival):5.1f}/s", style="bold")
    if source is not CALLERS:
        for label, other in (
            ("to the model", "attempt_started"),
            ("tools", "tool_executed"),
            ("webhooks", "webhook_received"),
        ):
            if state.totals[other]:
                text.append(f"  {label} ")
                text.append(f"{state.rate_per_s(other):5.1f}/s", style="bold")
        return text
    text.append("  done ")
    text.append(f"{state.rate_per_s('call_ended'):5.1f}/s", style="bold")
    text.append(f"  in flight {state.in_flight:<4d}")
    dropped = state.totals["call_dropped"]
    text.append(f" dropped {dropped}", style="bold red" if dropped else _QUIET)
    return text.append(f"  lag {format_duration(state.lag_max_s)}", style=_QUIET)


def outcomes_text(state: RunState) -> Text:
    """
    Return what became of the calls.
    """
    text = Text()
    for name, kind in seen(state).outcomes.items():
        count = state.totals[kind]
        style = _OUTCOME_STYLES.get(name, "yellow")
        shown = style if count or name == "answered" else _QUIET
        text.append(f"{name} {count}  ", style=shown)
    return text.append(f"retries {state.totals['retry_scheduled']}", style="default")


def latency_text(state: RunState) -> Text:
    """
    Return the latency of the last seconds, from intended start.
    """
    parts = []
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        value = state.latency_s(share)
        parts.append(f"{label} {'-' if value is None else format_duration(value):>7}")
    return Text("latency ").append("  ".join(parts), style="bold")


def chart(
    values: list[float], *, width: int, rows: int = 1, top: float | None = None
) -> list[str]:
    """
    Return a bar chart as lines, the latest value at the right.

    Args:
        values: Oldest first; only the last ``width`` are drawn.
        width: In columns.
        rows: In lines.
        top: What a full bar stands for; the highest value drawn by default.
    """
    shown = values[-width:]
    highest = top or max(shown, default=0.0) or 1.0
    full = rows * _BAR_LEVELS
    levels = [
        0 if value <= 0 else max(1, min(full, round(value / highest * full)))
        for value in shown
    ]
    lines = []
    for row in reversed(range(rows)):
        below = row * _BAR_LEVELS
        filled = (max(0, min(_BAR_LEVELS, level - below)) for level in levels)
        lines.append("".join(_BLOCKS[level] for level in filled).rjust(width))
    return lines


def charts_text(state: RunState, *, width: int, rows: int) -> Text:
    """
    Return charts of offered and answered calls and of latency, side by side.
    """
    part = max(8, (width - 2 * len(_GAP)) // 3)
    source = seen(state)
    offered = state.history(source.arrival, seconds=part)
    answered = state.history(source.outcomes["answered"], seconds=part)
    p99_s = state.latency_history_s(0.99, seconds=part)
    top = max([*offered, *answered, 1.0])
    columns = [
        (f"{source.word}, full {top:.0f}/s", offered, top, "blue"),
        (f"answered, full {top:.0f}/s", answered, top, "green"),
        (f"p99, full {format_duration(max([*p99_s, 0.0]))}", p99_s, None, "red"),
    ]
    charts = [
        chart(values, width=part, rows=rows, top=top_) for _, values, top_, _ in columns
    ]
    lines = [
        Text(_GAP).join(
            Text(f"{label:<{part}.{part}}", style=_QUIET) for label, *_ in columns
        )
    ]
    lines += [
        Text(_GAP).join(
            Text(lines_of[row], style=style)
            for lines_of, (*_, style) in zip(charts, columns, strict=True)
        )
        for row in range(rows)
    ]
    return Text("\n").join(lines)


def circuit_strip(
    state: RunState, circuit: str, *, width: int, duration_s: float
) -> Text:
    """
    Return one circuit over the whole run, a letter per column.
    """
    text = Text()
    step_s = max(duration_s, state.now_s, 1.0) / width
    for column in range(width):
        from_s = column * step_s
        if from_s > state.now_s:
            text.append("·", style=_QUIET)
            continue
        letter, _, style = STATE_STYLES[
            shown_state(state, circuit, from_s, from_s + step_s)
        ]
        text.append(letter, style=style)
    return text


def shown_state(state: RunState, circuit: str, from_s: float, to_s: float) -> str:
    """
    Return the state of a circuit in a stretch of time that is most worth seeing.

    A half-open moment is short and tells most, so it is never hidden by what was
    before and after.
    """
    states = {state.state_at(circuit, from_s)} | {
        transition.state
        for transition in state.circuits[circuit]
        if from_s <= transition.at_s < min(to_s, state.now_s)
    }
    order = ("half_open", "open", "isolated", "disabled", "closed")
    return min(states, key=lambda each: order.index(each) if each in order else 0)


def circuits_text(state: RunState, *, width: int, duration_s: float) -> Text:
    """
    Return a line per circuit: name, state in words, and its strip.
    """
    if not state.circuits:
        return Text("all closed: no circuit has changed its state yet", style=_QUIET)
    lines = []
    name_width = min(20, max(len(name) for name in state.circuits))
    for name in sorted(state.circuits):
        latest = state.circuits[name][-1]
        _, glyph, style = STATE_STYLES.get(latest.state, STATE_STYLES["disabled"])
        line = Text(f"{name[-name_width:]:<{name_width}} ")
        line.append(
            f"{glyph} {latest.state:<9}", style=Style(color=style.bgcolor, bold=True)
        )
        strip_width = max(10, width - name_width - 13)
        line.append(" ")
        line.append(
            circuit_strip(state, name, width=strip_width, duration_s=duration_s)
        )
        lines.append(line)
    return Text("\n").join(lines)


def webhooks_text(state: RunState) -> Text:
    """
    Return what became of the outgoing webhooks.
    """
    totals = state.totals
    delivered, dead = totals["webhook_delivered"], totals["webhook_dead"]
    waiting = max(0, totals["webhook_enqueued"] - delivered - dead)
    text = Text(f"enqueued {totals['webhook_enqueued']}  ")
    text.append(f"delivered {delivered}", style="green")
    text.append(f"  waiting {waiting}  failed attempts ")
    text.append(str(totals["webhooks_failed"]), style="yellow")
    text.append(f"  dead {dead}", style="bold red" if dead else _QUIET)
    return text


def faults_text(state: RunState) -> Text:
    """
    Return what is going wrong on purpose.
    """
    recent = [
        name
        for name, at_s in state.last_fault_s.items()
        if state.now_s - at_s < 3  # noqa: PLR2004
    ]
    if not recent and not state.faults:
        return Text("faults: none", style=_QUIET)
    text = Text("faults: ")
    text.append(", ".join(sorted(recent)) or "none hit lately", style="bold red")
    if state.faults:
        text.append(f"  injected by hand: {', '.join(sorted(state.faults.values()))}")
    return text


def event_text(record: Mapping[str, Any]) -> Text:
    """
    Return one event as a line, what matters most first and without its name.
    """
    kind = str(record["kind"])
    first = [_shown(record[name]) for name in _FIRST if name in record]
    if "from" in record and "to" in record:
        first.insert(1, f"{record['from']} → {record['to']}")
    rest = [
        f"{name}={_shown(record[name])}"
        for name in sorted(record.keys() - _NOT_SHOWN - set(_FIRST))
    ]
    text = Text(f"{record['time_us'] / 1e6:8.2f} ", style=_QUIET, no_wrap=True)
    text.append(f"{record['host']:<7} ", style="cyan")
    text.append(f"{kind} ", style=_kind_style(record))
    if first:
        text.append(" ".join(first), style="bold").append(" ")
    return text.append(" ".join(rest), style=_QUIET)


def _kind_style(record: Mapping[str, Any]) -> Style:
    kind = record["kind"]
    if kind == "circuit_changed":
        style = STATE_STYLES.get(str(record["to"]), STATE_STYLES["disabled"])[2]
        return Style(color=style.bgcolor, bold=True)
    if kind in _ERROR_KINDS:
        return Style(color="red", bold=True)
    return Style(color="magenta" if kind in _FAULT_KINDS else "yellow")


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
