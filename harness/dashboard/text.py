"""
The state of a run as text: pure functions from state to what is painted.
"""

from collections.abc import Mapping
from typing import Any, Final

from rich.style import Style
from rich.text import Text

from harness.report import RunState
from harness.units import format_duration

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

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BAR_LEVELS: Final = len(_BLOCKS) - 1
_NOT_SHOWN: Final = frozenset({"seq", "time_us", "host", "kind", "trace_id"})
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


def header_text(manifest: Mapping[str, Any], state: RunState) -> Text:
    """
    Return who runs, in which mode, with which seed, and how far.
    """
    if not manifest:
        return Text("starting the mock and the service …", style="bold")
    text = Text.assemble((str(manifest.get("scenario", "")), "bold"), "  ")
    text.append(f"{manifest.get('mode', 'live')} · seed {manifest.get('seed')} · ")
    text.append(f"{clock_text(state.now_s)} / ")
    text.append(clock_text(float(manifest.get("duration_s", 0.0))))
    return text


def load_text(state: RunState) -> Text:
    """
    Return the rates and counts of the callers.
    """
    offered = state.rate_per_s("call_offered")
    done = state.rate_per_s("call_ended")
    text = Text.assemble(
        "offered ", (f"{offered:5.1f}/s", "bold"), "  done ", (f"{done:5.1f}/s", "bold")
    )
    text.append(f"  in flight {state.in_flight:<4d}")
    text.append(f" answered {state.totals['answered']}", style="green")
    for name, style in (
        ("failed", "red"),
        ("refused", "yellow"),
        ("unknown", "bright_black"),
    ):
        count = state.totals[name]
        text.append(f"  {name} {count}", style=style if count else "bright_black")
    dropped = state.totals["call_dropped"]
    text.append(f"  dropped {dropped}", style="bold red" if dropped else "bright_black")
    return text


def latency_text(state: RunState) -> Text:
    """
    Return the latency of the last seconds, and how late the generator is.
    """
    parts = []
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        value = state.latency_s(share)
        parts.append(f"{label} {'-' if value is None else format_duration(value):>7}")
    text = Text("latency ").append("  ".join(parts), style="bold")
    text.append(f"  retries {state.rate_per_s('retry_scheduled'):4.1f}/s")
    return text.append(
        f"  lag {format_duration(state.lag_max_s)}", style="bright_black"
    )


def bars(values: list[float], *, width: int, top: float | None = None) -> str:
    """
    Return a row of bars, the latest value at the right.

    Args:
        values: Oldest first; only the last ``width`` are drawn.
        width: In columns.
        top: What a full bar stands for; the highest value drawn by default.
    """
    shown = values[-width:]
    highest = top or max(shown, default=0.0) or 1.0
    levels = (
        0
        if value <= 0
        else max(1, min(_BAR_LEVELS, round(value / highest * _BAR_LEVELS)))
        for value in shown
    )
    return "".join(_BLOCKS[level] for level in levels).rjust(width)


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
            text.append("·", style="bright_black")
            continue
        letter, _, style = STATE_STYLES[
            worst_state(state, circuit, from_s, from_s + step_s)
        ]
        text.append(letter, style=style)
    return text


def worst_state(state: RunState, circuit: str, from_s: float, to_s: float) -> str:
    """
    Return the least healthy state of a circuit in a stretch of time.
    """
    states = {state.state_at(circuit, from_s)} | {
        transition.state
        for transition in state.circuits[circuit]
        if from_s <= transition.at_s < min(to_s, state.now_s)
    }
    order = ("open", "isolated", "half_open", "disabled", "closed")
    return min(states, key=lambda each: order.index(each) if each in order else 0)


def circuits_text(state: RunState, *, width: int, duration_s: float) -> Text:
    """
    Return a line per circuit: name, state in words, and its strip.
    """
    if not state.circuits:
        return Text(
            "all closed: no circuit has changed its state yet", style="bright_black"
        )
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
    text.append(f"  dead {dead}", style="bold red" if dead else "bright_black")
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
        return Text("faults: none", style="bright_black")
    text = Text("faults: ")
    text.append(", ".join(sorted(recent)) or "none hit lately", style="bold red")
    if state.faults:
        text.append(f"  injected by hand: {', '.join(sorted(state.faults.values()))}")
    return text


def event_text(record: Mapping[str, Any]) -> Text:
    """
    Return one event as a line.
    """
    kind = str(record["kind"])
    rest = " ".join(
        f"{name}={_shown(value)}"
        for name, value in sorted(record.items())
        if name not in _NOT_SHOWN
    )
    text = Text(f"{record['time_us'] / 1e6:8.2f} ", style="bright_black", no_wrap=True)
    text.append(f"{record['host']:<7} ", style="cyan")
    text.append(f"{kind} ", style=_kind_style(record))
    return text.append(rest, style="default")


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
