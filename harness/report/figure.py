"""
The picture of a run: everything on one time axis.
"""

from collections.abc import Callable, Iterator, Sequence
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

_FAULT_COLOUR = "rgba(208, 52, 44, 0.10)"
_PLANNED_COLOUR = "rgba(208, 52, 44, 0.30)"
_HIT_COLOUR = "#d0342c"
_GAP_PX: Final = 44
_STRIP_PX: Final = 24
_MARGIN_PX: Final = {"l": 70, "r": 150, "t": 36, "b": 44}


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


def run_figure(
    series: Series,
    *,
    shows_latency: bool = True,
    planned: Sequence[Interval] = (),
) -> dict[str, Any]:
    """
    Return the picture of a run as plain plotly JSON values.

    Args:
        series: What is drawn.
        shows_latency: Whether latencies are those of a machine; in virtual time they
            are not.
        planned: The windows of the faults that the scenario plans.
    """
    end_s = _end_s(series)
    circuits = len({each.name for each in series.circuits})
    faults = len({each.name for each in (*series.faults, *planned)})
    rows: list[tuple[str, int, Callable[[Any, int], None]]] = [
        ("Calls per second", 210, _lines(series, _CALLS)),
        ("Circuits", _strips_px(circuits), _bands(series.circuits, end_s=end_s)),
        ("Upstream attempts per second", 170, _lines(series, _UPSTREAM)),
        ("Webhooks per second", 150, _lines(series, _WEBHOOKS)),
        (
            "Faults: planned, and where they hit",
            _strips_px(faults),
            _bands([*planned, *series.faults], end_s=end_s),
        ),
    ]
    if shows_latency:
        rows.insert(1, ("Latency from intended start, s", 170, _latency(series)))
    height_px = sum(px for _, px, _ in rows) + _GAP_PX * (len(rows) - 1)
    figure = make_subplots(
        rows=len(rows),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=_GAP_PX / height_px,
        row_heights=[px for _, px, _ in rows],
        subplot_titles=[title for title, _, _ in rows],
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    for row, (_, _, draw) in enumerate(rows, start=1):
        draw(figure, row)
        _place_legend(figure, row)
    for from_s, to_s in _shaded(series, planned):
        figure.add_vrect(
            x0=from_s,
            x1=max(to_s, from_s + series.width_s),
            fillcolor=_FAULT_COLOUR,
            line_width=0,
            layer="below",
        )
    figure.update_layout(
        height=height_px + _MARGIN_PX["t"] + _MARGIN_PX["b"],
        margin=_MARGIN_PX,
        barmode="overlay",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8a8f98"},
        hovermode="x unified",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
    )
    figure.update_xaxes(range=[0, end_s])
    figure.update_xaxes(title_text="scenario time, s", row=len(rows), col=1)
    figure.update_yaxes(rangemode="tozero", automargin=True)
    values: dict[str, Any] = figure.to_plotly_json()
    return values


def _strips_px(strips: int) -> int:
    return _STRIP_PX * max(1, strips)


def _legend(row: int) -> str:
    return "legend" if row == 1 else f"legend{row}"


def _place_legend(figure: Any, row: int) -> None:
    """
    Put a row's legend beside it: colours mean another thing in each row.
    """
    axis = figure.layout["yaxis" if row == 1 else f"yaxis{row}"]
    place = {"x": 1.01, "xanchor": "left", "y": axis.domain[1], "yanchor": "top"}
    figure.update_layout({_legend(row): {**place, "font": {"size": 11}}})


def _shaded(
    series: Series, planned: Sequence[Interval]
) -> Iterator[tuple[float, float]]:
    """
    Yield the stretches of time in which something was wrong on purpose.
    """
    names = {each.name for each in planned}
    windows = [*planned, *(each for each in series.faults if each.name not in names)]
    for name in dict.fromkeys(each.name for each in windows):
        mine = [each for each in windows if each.name == name]
        length_s = sum(each.to_s - each.from_s for each in mine)
        if length_s <= _SHADED_SHARE_MAX * _end_s(series):
            yield from ((each.from_s, each.to_s) for each in mine)


def _end_s(series: Series) -> float:
    return series.starts_s[-1] + series.width_s


def _lines(
    series: Series, lines: Sequence[tuple[str, str, str, str]]
) -> Callable[[Any, int], None]:
    """
    Return what draws count series as rates.
    """

    def draw(figure: Any, row: int) -> None:
        for name, label, colour, dash in lines:
            if name not in series.counts:
                continue
            figure.add_trace(
                go.Scatter(
                    x=series.starts_s,
                    y=series.rate_per_s(name),
                    name=label,
                    mode="lines",
                    legend=_legend(row),
                    line={"color": colour, "dash": dash, "shape": "hv", "width": 1.6},
                ),
                row=row,
                col=1,
            )

    return draw


def _latency(series: Series) -> Callable[[Any, int], None]:
    """
    Return what draws the latencies.
    """

    def draw(figure: Any, row: int) -> None:
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
                    legend=_legend(row),
                    line={"color": colour, "dash": dash, "width": 1.6},
                ),
                row=row,
                col=1,
            )

    return draw


def _bands(
    intervals: Sequence[Interval], *, end_s: float
) -> Callable[[Any, int], None]:
    """
    Return what draws a strip per name, with a letter where there is room for it.
    """

    def draw(figure: Any, row: int) -> None:
        for interval in intervals:
            figure.add_trace(_band(interval, end_s=end_s), row=row, col=1)

    return draw


def _band(interval: Interval, *, end_s: float) -> Any:
    length_s = interval.to_s - interval.from_s
    letter = CIRCUIT_LETTERS.get(interval.state, "")
    has_room = length_s >= end_s * _LETTER_SHARE_MIN
    about = f" ({interval.reason})" if interval.reason else ""
    other = _PLANNED_COLOUR if interval.state == "planned" else _HIT_COLOUR
    return go.Bar(
        x=[max(length_s, end_s * 0.002)],
        base=[interval.from_s],
        y=[interval.name],
        orientation="h",
        showlegend=False,
        marker={
            "color": CIRCUIT_COLOURS.get(interval.state, other),
            "line": {"width": 0},
        },
        text=[letter if has_room else ""],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        constraintext="none",
        hovertext=(
            f"{interval.name}: {interval.state}{about}, "
            f"{interval.from_s:.2f}-{interval.to_s:.2f} s"
        ),
        hoverinfo="text",
    )
