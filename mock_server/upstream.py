"""
The model API: all its surfaces, put together by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mock_server.core import Core
from mock_server.latency import profile_of
from mock_server.minting import Mint
from mock_server.router import Router
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
        compiled = CompiledScript.of(script)
        api_keys = script.upstream.api_keys
        limits = core.limits
        model = ScriptedModel(compiled, draws=core.draws)
        stored = StoredCompletions(
            api_keys, completions_max=limits.stored_completions_max
        )
        chat = ChatCompletions(model, stored)
        embeddings = Embeddings(model)
        completions = Completions(model)
        moderations = Moderations(model, Mint(core.draws, things_max=limits.files_max))
        files = Files(
            api_keys,
            Mint(core.draws, things_max=limits.files_max),
            files_max=limits.files_max,
            file_bytes_max=limits.file_bytes_max,
        )
        memory = Memory(limits, clock=core.clock, draws=core.draws)
        responses = Responses(
            core,
            model=model,
            memory=memory,
            announce=emitter.announce,
            latency=profile_of(script.upstream.latency),
            queue_s=script.upstream.background.queue_s,
        )
        stored_responses = StoredResponses(
            api_keys,
            memory=memory,
            clock=core.clock,
            announce=emitter.announce,
            strict=script.upstream.strict,
        )
        self._endpoints = WebhookEndpoints(
            api_keys,
            emitter=emitter,
            clock=core.clock,
            draws=core.draws,
            endpoints_max=limits.webhook_endpoints_max,
        )
        batches = Batches(
            api_keys,
            core,
            script.upstream.batches,
            files=files,
            surfaces={
                "/v1/responses": responses,
                "/v1/chat/completions": chat,
                "/v1/embeddings": embeddings,
                "/v1/completions": completions,
                "/v1/moderations": moderations,
            },
            announce=emitter.announce,
        )
        talk = ThreadMemory(limits, Mint(core.draws, things_max=limits.threads_max))
        poll_after_s = script.upstream.threads.poll_after_s
        runs = Runs(
            core,
            model,
            talk,
            latency=profile_of(script.upstream.latency),
            poll_after_s=poll_after_s,
        )
        threads = Threads(api_keys, talk, core.chores, poll_after_s=poll_after_s)
        self._shelves: dict[str, Shelf[Any]] = {
            "assistants": talk.assistants,
            "threads": talk.threads,
            "runs": talk.runs,
            "stored_completions": stored.shelf,
            "files": files.shelf,
            "batches": batches.shelf,
            "responses": memory.responses,
            "conversations": memory.conversations,
            "webhook_endpoints": self._endpoints.shelf,
        }
        self._router = Router(
            [
                ("/chat/completions/*", stored),
                ("POST /chat/completions", chat),
                ("GET /chat/completions", stored),
                ("/chat/completions", chat),
                ("/responses/*", stored_responses),
                ("/responses", responses),
                ("/conversations", Conversations(api_keys, memory=memory)),
                ("/webhook_endpoints", self._endpoints),
                ("/webhook_event_types", self._endpoints),
                ("/embeddings", embeddings),
                ("/completions", completions),
                ("/moderations", moderations),
                ("POST /runs/submit-tool-outputs", runs),
                ("POST /threads/*/runs/*/submit_tool_outputs", runs),
                ("/threads/*/runs/*", threads),
                ("POST /threads/*/runs", runs),
                ("POST /threads/runs", runs),
                ("/threads", threads),
                ("/assistants", Assistants(api_keys, model, talk)),
                ("/files", files),
                ("/batches", batches),
                ("/models", Models(api_keys, script.upstream.listed_models)),
            ],
            otherwise=Unknown(),
        )

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
