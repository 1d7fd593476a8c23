"""
Scenario time: seconds since the workload began.
"""

from collections.abc import Callable

from mock_server.clock import Clock
from mock_server.events import Events


class ScenarioTime:
    """
    Begins with :meth:`start`, else with the first request.
    """

    def __init__(self, *, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        self._zero_s: float | None = None
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """
        Call ``watcher`` whenever zero is another.
        """
        self._watchers.append(watcher)

    @property
    def is_started(self) -> bool:
        """
        Whether it runs.
        """
        return self._zero_s is not None

    @property
    def elapsed_s(self) -> float:
        """
        Seconds since zero, negative before it; 0 while it does not run.
        """
        if self._zero_s is None:
            return 0.0
        return self._clock.monotonic() - self._zero_s

    def start(self, *, at_s: float | None = None) -> None:
        """
        Set zero, also if it was running.

        Args:
            at_s: A point of the monotonic clock, which the processes of one machine
                share; by default this moment.
        """
        self._zero_s = self._clock.monotonic() if at_s is None else at_s
        self._events.publish("scenario_started", zero_us=int(self._zero_s * 1e6))
        self._tell()

    def start_if_needed(self) -> None:
        """
        Make this moment zero unless it runs already.
        """
        if self._zero_s is None:
            self.start()

    def stop(self) -> None:
        """
        Wait for another start.
        """
        self._zero_s = None
        self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
