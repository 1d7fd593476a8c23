"""
The model API: all its surfaces, put together by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mock_server.core import Core
from mock_server.latency import profile_of
from mock_server.minting import Mint
from mock_server.router import Route, Router
from mock_server.script import CompiledScript, MockScript
from mock_server.shelf import Shelf
from mock_server.surfaces.api_events import Destination
from mock_server.surfaces.batches import Batches
from mock_server.surfaces.chat_completions import ChatCompletions
from mock_server.surfaces.completions import Completions
from mock_server.surfaces.embeddings import Embeddings
from mock_server.surfaces.files import Files
from mock_server.surfaces.models import Models
from mock_server.surfaces.moderations import Moderations
from mock_server.surfaces.ports import Surface
from mock_server.surfaces.responses import (
    Conversations,
    Memory,
    Responses,
    StoredResponses,
)
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.stored_completions import StoredCompletions
from mock_server.surfaces.threads import Assistants, Runs, ThreadMemory, Threads
from mock_server.surfaces.unknown import Unknown
from mock_server.surfaces.webhook_emitter import WebhookEmitter
from mock_server.surfaces.webhook_endpoints import WebhookEndpoints


class Upstream:
    """
    The surfaces of one script, by path.

    Args:
        script: What the model API does.
        core: The parts of the mock.
        emitter: Tells of what happens later.
    """

    def __init__(self, script: MockScript, core: Core, emitter: WebhookEmitter) -> None:
        self._script = script.upstream
        self._core = core
        self._emitter = emitter
        self._model = ScriptedModel(CompiledScript.of(script), draws=core.draws)
        self._latency = profile_of(script.upstream.latency)
        self._shelves: dict[str, Shelf[Any]] = {}
        self._endpoints = WebhookEndpoints(
            self._script.api_keys,
            emitter=emitter,
            clock=core.clock,
            draws=core.draws,
            endpoints_max=core.limits.webhook_endpoints_max,
        )
        self._shelves["webhook_endpoints"] = self._endpoints.shelf
        self._unknown = Unknown(self._script.api_keys)
        self._stored = StoredCompletions(
            self._script.api_keys,
            completions_max=core.limits.stored_completions_max,
        )
        self._shelves["stored_completions"] = self._stored.shelf
        self.chat = ChatCompletions(self._model, self._stored)
        """Also answers outside of the routes, where it can answer at once."""

        # What batches can ask, by its path.
        asked: dict[str, Surface] = {}
        routes = [
            *self._chat(asked),
            *self._responses(asked),
            ("/webhook_endpoints", self._endpoints),
            ("/webhook_event_types", self._endpoints),
            *self._texts(asked),
            *self._threads(),
            *self._files(asked),
            ("/models", Models(self._script.api_keys, self._script.listed_models)),
        ]
        self._router = Router(routes, otherwise=self._unknown)

    def _chat(self, asked: dict[str, Surface]) -> list[Route]:
        chat, stored = self.chat, self._stored
        asked["/v1/chat/completions"] = chat
        return [
            ("/chat/completions/*", stored),
            ("POST /chat/completions", chat),
            ("GET /chat/completions", stored),
            ("/chat/completions", chat),
        ]

    def _responses(self, asked: dict[str, Surface]) -> list[Route]:
        core, script = self._core, self._script
        memory = Memory(core.limits, clock=core.clock, draws=core.draws)
        self._shelves["responses"] = memory.responses
        self._shelves["conversations"] = memory.conversations
        responses = Responses(
            core,
            model=self._model,
            memory=memory,
            announce=self._emitter.announce,
            latency=self._latency,
            queue_s=script.background.queue_s,
        )
        stored = StoredResponses(
            script.api_keys,
            memory=memory,
            clock=core.clock,
            announce=self._emitter.announce,
            strict=script.strict,
        )
        asked["/v1/responses"] = responses
        return [
            # No response has that id: it is a path that the mock does not have.
            ("/responses/compact", self._unknown),
            ("/responses/*", stored),
            ("/responses", responses),
            ("/conversations", Conversations(script.api_keys, memory=memory)),
        ]

    def _texts(self, asked: dict[str, Surface]) -> list[Route]:
        mint = Mint(self._core.draws, things_max=self._core.limits.executions_max)
        asked["/v1/embeddings"] = Embeddings(self._model)
        asked["/v1/completions"] = Completions(self._model)
        asked["/v1/moderations"] = Moderations(self._model, mint)
        return [
            (path, asked[f"/v1{path}"])
            for path in ("/embeddings", "/completions", "/moderations")
        ]

    def _threads(self) -> list[Route]:
        core, api_keys = self._core, self._script.api_keys
        memory = ThreadMemory(core.limits, core.draws)
        self._shelves["assistants"] = memory.assistants
        self._shelves["threads"] = memory.threads
        self._shelves["runs"] = memory.runs
        poll_after_s = self._script.threads.poll_after_s
        runs = Runs(
            core, self._model, memory, latency=self._latency, poll_after_s=poll_after_s
        )
        threads = Threads(api_keys, memory, core.chores, poll_after_s=poll_after_s)
        return [
            ("POST /runs/submit-tool-outputs", runs),
            ("POST /threads/*/runs/*/submit_tool_outputs", runs),
            ("/threads/*/runs/*", threads),
            ("POST /threads/*/runs", runs),
            ("POST /threads/runs", runs),
            ("/threads", threads),
            ("/assistants", Assistants(api_keys, self._model, memory)),
        ]

    def _files(self, asked: dict[str, Surface]) -> list[Route]:
        core, api_keys, limits = self._core, self._script.api_keys, self._core.limits
        files = Files(
            api_keys,
            Mint(core.draws, things_max=limits.files_max),
            files_max=limits.files_max,
            file_bytes_max=limits.file_bytes_max,
        )
        batches = Batches(
            api_keys,
            core,
            self._script.batches,
            files=files,
            surfaces=asked,
            announce=self._emitter.announce,
        )
        self._shelves["files"] = files.shelf
        self._shelves["batches"] = batches.shelf
        return [("/files", files), ("/batches", batches)]

    def subscribers(self, world: str, event_type: str) -> Sequence[Destination]:
        """
        Return who wants to be told of an event.
        """
        return self._endpoints.subscribers(world, event_type)

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
