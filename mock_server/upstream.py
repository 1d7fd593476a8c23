"""
The model API: all its surfaces, put together by hand.
"""

from collections.abc import Mapping

from mock_server.core import Core
from mock_server.router import Router
from mock_server.script import CompiledScript, MockScript
from mock_server.surfaces.chat_completions import ChatCompletions
from mock_server.surfaces.models import Models
from mock_server.surfaces.ports import Surface
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.stored_completions import StoredCompletions
from mock_server.surfaces.unknown import Unknown


class Upstream:
    """
    The surfaces of one script, by path.

    Args:
        script: What the model API does.
        core: The parts of the mock.
    """

    def __init__(self, script: MockScript, core: Core) -> None:
        compiled = CompiledScript.of(script)
        api_keys = script.upstream.api_keys
        limits = core.limits
        model = ScriptedModel(compiled, draws=core.draws)
        stored = StoredCompletions(
            api_keys, completions_max=limits.stored_completions_max
        )
        chat = ChatCompletions(model, stored)
        self._shelves = {"stored_completions": stored.shelf}
        self._router = Router(
            [
                ("POST /chat/completions", chat),
                ("GET /chat/completions", stored),
                ("/chat/completions/*", stored),
                ("/chat/completions", chat),
                ("/models", Models(api_keys, script.upstream.listed_models)),
            ],
            otherwise=Unknown(),
        )

    def surface_at(self, method: str, path: str) -> Surface:
        """
        Return the surface for a path without its version.
        """
        return self._router.surface_at(method, path)

    @property
    def holds(self) -> Mapping[str, int]:
        """
        How many things are kept, by kind.
        """
        return {name: len(shelf) for name, shelf in self._shelves.items()}

    @property
    def dropped(self) -> Mapping[str, int]:
        """
        How many things made room for others, by the limit that asked it of them.
        """
        return {f"{name}_max": shelf.dropped for name, shelf in self._shelves.items()}
