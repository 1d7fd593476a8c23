"""
Which surface of the model API answers a path.
"""

from collections.abc import Iterable

from mock_server.surfaces.ports import Surface

Route = tuple[str, Surface]


class Router:
    """
    Finds the surface of a request; the first route that fits is taken.

    Args:
        routes: ``METHOD /path`` or ``/path`` for every method. A path is also that of
            all that is below it; ``*`` in it stands for one segment.
        otherwise: Answers what no route fits.
    """

    def __init__(self, routes: Iterable[Route], *, otherwise: Surface) -> None:
        self._otherwise = otherwise
        self._routes: list[tuple[str | None, list[str], Surface]] = []
        self._exact: dict[tuple[str, str], Surface] = {}
        for route, surface in routes:
            method, _, path = route.rpartition(" ")
            self._routes.append((method or None, path.split("/"), surface))
            if method and "*" not in path:
                self._exact.setdefault((method, path), surface)

    def surface_at(self, method: str, path: str) -> Surface:
        """
        Return the surface for a path without its version.
        """
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        segments = path.split("/")
        for wanted, pattern, surface in self._routes:
            if wanted in {None, method} and _is_below(segments, pattern):
                return surface
        return self._otherwise


def _is_below(segments: list[str], pattern: list[str]) -> bool:
    return len(segments) >= len(pattern) and all(
        wanted in {"*", segment}
        for wanted, segment in zip(pattern, segments, strict=False)
    )
