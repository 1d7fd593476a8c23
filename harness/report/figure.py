"""
The picture of a run: everything on one time axis.
"""

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from harness.report.series import Interval, Series

CIRCUIT_COLOURS: Final = {
    "closed": "#2e9e5b",
    "half_open": "#d9a400",
    "open": "#d0342c",
    "isolated": "#7a4fd0",
    "disabled": "#8a8f98",
}
CIRCUIT_LETTERS: Final = {
    "closed": "C",
    "half_open": "H",
    "open": "O",
    "isolated": "I",
    "disabled": "D",
}
"""So that colour is never the only carrier."""

_LETTER_SHARE_MIN = 0.012
_SHADED_SHARE_MAX = 0.6
"""A fault that lasts nearly as long as the run would only grey everything."""

_FAULT_COLOUR = "rgba(208, 52, 44, 0.13)"
_LATENCY: Final[str] = "Latency from intended start, s"
_ROWS: Final[tuple[tuple[str, float], ...]] = (
    ("Calls per second", 0.24),
    (_LATENCY, 0.2),
    ("Circuits", 0.12),
    ("Upstream attempts per second", 0.2),
    ("Webhooks per second", 0.16),
    ("Faults that hit", 0.08),
)


_CALLS: Final = (
    ("offered", "offered", "#5b6472", "dot"),
    ("answered", "answered", "#2e9e5b", "solid"),
    ("failed", "failed", "#d0342c", "solid"),
    ("refused", "refused", "#d9a400", "dash"),
    ("dropped", "dropped", "#7a4fd0", "dashdot"),
    ("unknown", "unknown", "#8a8f98", "dashdot"),
)
_UPSTREAM: Final = (
    ("upstream_attempts", "attempts", "#2f6fd0", "solid"),
    ("upstream_failures", "failed attempts", "#d0342c", "solid"),
    ("retries", "retries scheduled", "#d9a400", "dash"),
    ("rejected", "refused by us", "#7a4fd0", "dot"),
)
_WEBHOOKS: Final = (
    ("webhooks_delivered", "delivered", "#2e9e5b", "solid"),
    ("webhooks_failed", "failed deliveries", "#d0342c", "solid"),
    ("webhooks_dead", "dead letters", "#111111", "dash"),
)
"""Series, label, colour and dash: two carriers for each line."""


def run_figure(series: Series, *, shows_latency: bool = True) -> dict[str, Any]:
    """
    Return the picture of a run as plain plotly JSON values.

    Args:
        series: What is drawn.
        shows_latency: Whether latencies are those of a machine; in virtual time they
            are not.
    """
    rows = [row for row in _ROWS if shows_latency or row[0] != _LATENCY]
    figure = make_subplots(
        rows=len(rows),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.035,
        row_heights=[height for _, height in rows],
        subplot_titles=[title for title, _ in rows],
    )
    _add_lines(figure, series, row=1, lines=_CALLS)
    if shows_latency:
        _add_latency(figure, series)
    below = len(rows) - 4
    _add_bands(figure, series.circuits, row=below + 1, end_s=_end_s(series))
    _add_lines(figure, series, row=below + 2, lines=_UPSTREAM)
    _add_lines(figure, series, row=below + 3, lines=_WEBHOOKS)
    _add_bands(figure, series.faults, row=below + 4, end_s=_end_s(series))
    for fault in series.faults:
        if fault.to_s - fault.from_s > _SHADED_SHARE_MAX * _end_s(series):
            continue
        figure.add_vrect(
            x0=fault.from_s,
            x1=max(fault.to_s, fault.from_s + series.width_s),
            fillcolor=_FAULT_COLOUR,
            line_width=0,
            layer="below",
        )
    figure.update_layout(
        height=1080,
        margin={"l": 70, "r": 20, "t": 40, "b": 40},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8a8f98"},
        hovermode="x unified",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
        legend={"orientation": "h", "y": -0.06},
    )
    figure.update_xaxes(range=[0, _end_s(series)])
    figure.update_xaxes(title_text="scenario time, s", row=len(rows), col=1)
    figure.update_yaxes(rangemode="tozero", automargin=True)
    values: dict[str, Any] = figure.to_plotly_json()
    return values


def _end_s(series: Series) -> float:
    return series.starts_s[-1] + series.width_s


def _add_lines(
    figure: Any,
    series: Series,
    *,
    row: int,
    lines: Sequence[tuple[str, str, str, str]],
) -> None:
    for name, label, colour, dash in lines:
        if name not in series.counts:
            continue
        figure.add_trace(
            go.Scatter(
                x=series.starts_s,
                y=series.rate_per_s(name),
                name=label,
                mode="lines",
                line={"color": colour, "dash": dash, "shape": "hv", "width": 1.6},
            ),
            row=row,
            col=1,
        )


def _add_latency(figure: Any, series: Series) -> None:
    for label, values, colour, dash in (
        ("p50", series.latency_p50_s, "#2f6fd0", "solid"),
        ("p99", series.latency_p99_s, "#d0342c", "dash"),
    ):
        figure.add_trace(
            go.Scatter(
                x=series.starts_s,
                y=values,
                name=f"latency {label}",
                mode="lines",
                line={"color": colour, "dash": dash, "width": 1.6},
            ),
            row=2,
            col=1,
        )


def _add_bands(
    figure: Any, intervals: list[Interval], *, row: int, end_s: float
) -> None:
    """
    Draw one horizontal strip per name, with a letter where there is room for it.
    """
    for interval in intervals:
        length_s = interval.to_s - interval.from_s
        letter = CIRCUIT_LETTERS.get(interval.state, "")
        has_room = length_s >= end_s * _LETTER_SHARE_MIN
        about = f" ({interval.reason})" if interval.reason else ""
        figure.add_trace(
            go.Bar(
                x=[max(length_s, end_s * 0.002)],
                base=[interval.from_s],
                y=[interval.name],
                orientation="h",
                showlegend=False,
                marker={
                    "color": CIRCUIT_COLOURS.get(interval.state, "#d0342c"),
                    "line": {"width": 0},
                },
                text=[letter if has_room else ""],
                textposition="inside",
                insidetextanchor="middle",
                hovertext=(
                    f"{interval.name}: {interval.state}{about}, "
                    f"{interval.from_s:.2f}-{interval.to_s:.2f} s"
                ),
                hoverinfo="text",
            ),
            row=row,
            col=1,
        )
    figure.update_layout(barmode="overlay")
