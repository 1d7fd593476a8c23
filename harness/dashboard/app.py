"""
The terminal dashboard: a run as it goes on, and keys that disturb it.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Footer, RichLog, Static

from harness.dashboard.source import Source
from harness.dashboard.steering import Steering, SteeringError
from harness.dashboard.text import (
    VERDICT_STYLES,
    charts_text,
    circuits_text,
    event_text,
    faults_text,
    header_text,
    latency_text,
    load_text,
    outcomes_text,
    webhooks_text,
)
from harness.report import EVENTS_MAX, RunState

PAINT_INTERVAL_S: Final = 0.25
"""Painted in batches: a terminal over a slow line keeps up with four frames a second."""

ROOMY_LINES: Final = 36
"""From so many lines on, charts are taller."""

LEAVE_AFTER_S: Final = 5.0
"""How long the verdict stands before a dashboard that ends by itself does so."""

INJECTED_OUTAGE: Final = {"fault": "status", "status": 503}


class Pane(Static):
    """
    A titled part of the screen whose text is painted anew.
    """

    def __init__(self, title: str, *, id_: str) -> None:
        super().__init__(id=id_)
        self.border_title = title


class DashboardApp(App[None]):
    """
    Shows a run from its folder, or what a mock or a service says of itself.

    Args:
        source: Where it is read from.
        control_token: Opens the mock's control API, if it is guarded.
        leaves: Whether to leave by itself once the verdict is there.
    """

    CSS = """
    Screen { layout: vertical; }
    Pane { border: round $primary; border-title-color: $text; padding: 0 1; height: auto; }
    #header { border: none; height: 1; background: $boost; padding: 0 1; }
    #circuits { min-height: 3; max-height: 10; }
    RichLog { border: round $primary; height: 1fr; min-height: 4; padding: 0 1;
        background: $background; overflow-x: hidden; scrollbar-size: 1 1; }
    """
    TITLE = "toolcall-harness"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "inject", "inject an outage"),
        Binding("F", "stop_faults", "stop all faults"),
        Binding("k", "keep", "keep open"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]

    def __init__(
        self, source: Source, *, control_token: str = "", leaves: bool = False
    ) -> None:
        super().__init__()
        self.state = RunState()
        self._source = source
        self._control_token = control_token
        self._leaves = leaves
        self._listed = 0
        self._verdict_shown = False

    def compose(self) -> ComposeResult:
        """
        Lay out the screen.
        """
        yield Pane("", id_="header")
        with Vertical():
            yield Pane("calls", id_="rates")
            yield Pane("circuits", id_="circuits")
            yield Pane("webhooks and faults", id_="webhooks")
            log = RichLog(max_lines=EVENTS_MAX, wrap=False, id="events")
            log.border_title = "events"
            log.can_focus = True
            yield log
        yield Footer()

    def on_mount(self) -> None:
        """
        Paint at once and from then on in batches.
        """
        self.run_worker(self._source.follow(), name="follow the events")
        self.paint()
        self.set_interval(PAINT_INTERVAL_S, self.paint)

    def paint(self) -> None:
        """
        Read what was added to the log and paint everything anew.
        """
        if not self.query(Pane):
            # The timer may still fire while the screen is taken down.
            return
        for record in self._source.read():
            self.state.apply(record)
        manifest = self._source.manifest()
        duration_s = float(manifest.get("duration_s", 60.0))
        width = max(20, self.size.width - 4)
        self._paint_header()
        self.query_one("#rates", Pane).update(self._rates(width))
        self.query_one("#circuits", Pane).update(
            circuits_text(self.state, width=width, duration_s=duration_s)
        )
        self.query_one("#webhooks", Pane).update(
            Text("\n").join([webhooks_text(self.state), faults_text(self.state)])
        )
        self._paint_events()

    def _rates(self, width: int) -> Text:
        rows = 1 if self.size.height < ROOMY_LINES else 5
        lines = [
            load_text(self.state),
            outcomes_text(self.state),
            latency_text(self.state),
        ]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(
            [*lines, charts_text(self.state, width=width, rows=rows)]
        )

    def _paint_header(self) -> None:
        text = header_text(
            self._source.manifest(), self.state, waits_for=self._source.waits_for
        )
        summary = self._source.summary()
        if summary:
            verdict = str(summary["verdict"])
            text.append("  ").append(
                f" {verdict.upper()} ",
                style=f"reverse {VERDICT_STYLES.get(verdict, '')}",
            )
            if not self._verdict_shown:
                self._verdict_shown = True
                self._announce(verdict)
        self.query_one("#header", Pane).update(text)

    def _announce(self, verdict: str) -> None:
        if not self._leaves:
            self.notify(f"verdict: {verdict}")
            return
        self.notify(f"verdict: {verdict}; leaving in {LEAVE_AFTER_S:.0f} s, k stays")
        self.set_timer(LEAVE_AFTER_S, self._leave)

    def _leave(self) -> None:
        if self._leaves:
            self.exit()

    def _paint_events(self) -> None:
        log = self.query_one("#events", RichLog)
        fresh = min(self.state.events_listed - self._listed, len(self.state.events))
        for record in list(self.state.events)[len(self.state.events) - fresh :]:
            log.write(event_text(record))
        self._listed = self.state.events_listed

    def action_keep(self) -> None:
        """
        Stay although the run is over.
        """
        self._leaves = False
        self.notify("stays open; q leaves")

    async def action_inject(self) -> None:
        """
        Let the upstream answer 503 until all faults are stopped.
        """
        await self._steer("outage injected; F stops it", is_injection=True)

    async def action_stop_faults(self) -> None:
        """
        Stop every fault, those of the script included.
        """
        await self._steer("all faults stopped", is_injection=False)

    async def _steer(self, done: str, *, is_injection: bool) -> None:
        mock_url = self._source.manifest().get("mock_url")
        if not mock_url or self._source.summary():
            self.notify("no mock is running here: nothing to steer", severity="warning")
            return
        steering = Steering(mock_url=str(mock_url), control_token=self._control_token)
        try:
            if is_injection:
                await steering.inject("upstream", dict(INJECTED_OUTAGE))
            else:
                await steering.stop_all()
        except SteeringError as error:
            self.notify(str(error), severity="error")
        else:
            self.notify(done)
