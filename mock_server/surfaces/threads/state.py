"""
Threads and runs: what is kept of them, and the values that the API shows.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mock_server.chores import Chore
from mock_server.draws import Draws
from mock_server.limits import Limits
from mock_server.minting import Mint
from mock_server.shelf import Shelf
from mock_server.wire import ApiError

RUN_LIFETIME_S: Final = 600
"""A run that waits for outputs so long has expired."""

_ENDED: Final = frozenset({"cancelled", "failed", "completed", "incomplete", "expired"})
_STAGES: Final = (
    "started",
    "completed",
    "cancelled",
    "failed",
)


@dataclass(slots=True)
class Entry:
    """
    One message of the transcript that the model reads.
    """

    chat: dict[str, Any]
    """As a chat completion would be sent it."""

    shown: dict[str, Any] | None = None
    """As the thread shows it; calls and their outputs are not shown."""


@dataclass(slots=True)
class Thread:
    """
    A thread and its transcript.
    """

    value: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    active: "Run | None" = None
    parts: int = 0
    """Messages, runs and steps that have got an id."""

    @property
    def id(self) -> str:
        """
        ``thread_…``.
        """
        return str(self.value["id"])


@dataclass(slots=True)
class Run:
    """
    One run of a thread.
    """

    value: dict[str, Any]
    thread: Thread
    chat: dict[str, Any]
    """The chat that the model is asked, without its messages."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    """Outputs that came one by one, while others are missing."""

    answered: set[str] = field(default_factory=set)
    """Calls whose outputs the model has read."""

    chore: Chore | None = None

    @property
    def id(self) -> str:
        """
        ``run_…``.
        """
        return str(self.value["id"])

    @property
    def status(self) -> str:
        """
        The stage it is in.
        """
        return str(self.value["status"])

    @property
    def pending(self) -> list[str]:
        """
        The ids of the calls whose outputs are waited for.
        """
        action = self.value["required_action"]
        calls = action["submit_tool_outputs"]["tool_calls"] if action else ()
        return [call["id"] for call in calls]

    def enter(self, status: str, now_s: int) -> None:
        """
        Go on to a stage; one that has ended lets the thread go.
        """
        self.value["status"] = status
        if f"{status}_at" in self.value:
            self.value[f"{status}_at"] = now_s
        if status in _ENDED:
            if self.pending:
                # Calls that nobody will answer are not shown to the model again.
                self.thread.entries = self.thread.entries[:-1]
            self.value["expires_at"] = None
            self.value["required_action"] = None
            if self.thread.active is self:
                self.thread.active = None

    def expire_if_due(self, now_s: int) -> None:
        """
        Give up a run that has waited too long.
        """
        expires_at = self.value["expires_at"]
        is_waiting = self.status == "requires_action"
        if is_waiting and expires_at is not None and now_s >= expires_at:
            self.enter("expired", now_s)


class ThreadMemory:
    """
    The assistants, threads and runs of all worlds.
    """

    def __init__(self, limits: Limits, draws: Draws) -> None:
        self._draws = draws
        self.mint = Mint(draws, things_max=limits.threads_max)
        self.messages_max = limits.thread_messages_max
        self.assistants: Shelf[dict[str, Any]] = Shelf(limits.assistants_max)
        self.threads: Shelf[Thread] = Shelf(limits.threads_max)
        self.runs: Shelf[Run] = Shelf(limits.runs_max)

    def part_id(self, prefix: str, thread: Thread) -> str:
        """
        Return the id of something that belongs to a thread.
        """
        thread.parts += 1
        return self._draws.mint(prefix, thread.id, thread.parts)

    def thread(self, world: str, thread_id: str) -> Thread:
        """
        Return a thread.

        Raises:
            ApiError: There is none.
        """
        thread = self.threads.get(world, thread_id)
        if thread is None:
            raise none_found(thread_id, "thread")
        return thread

    def run(self, world: str, run_id: str, thread_id: str | None = None) -> Run:
        """
        Return a run.

        Raises:
            ApiError: There is none, or it belongs to another thread.
        """
        run = self.runs.get(world, run_id)
        if run is None or thread_id not in {None, run.thread.id}:
            raise none_found(run_id, "run")
        return run

    def add_message(
        self,
        thread: Thread,
        role: str,
        text: str,
        *,
        now_s: int,
        run: Run | None = None,
    ) -> dict[str, Any]:
        """
        Add a message to a thread and return it as it is shown.

        Raises:
            ApiError: The thread is full.
        """
        if len(thread.entries) >= self.messages_max:
            message = f"A thread holds at most {self.messages_max} messages."
            raise ApiError(message)
        shown: dict[str, Any] = {
            "id": self.part_id("msg_", thread),
            "object": "thread.message",
            "created_at": now_s,
            "assistant_id": None if run is None else run.value["assistant_id"],
            "thread_id": thread.id,
            "run_id": None if run is None else run.id,
            "role": role,
            "status": "completed",
            "completed_at": now_s,
            "incomplete_at": None,
            "incomplete_details": None,
            "content": [text_content(text)] if text else [],
            "attachments": [],
            "metadata": {},
        }
        thread.entries.append(Entry({"role": role, "content": text}, shown))
        return shown


def text_content(text: str) -> dict[str, Any]:
    """
    Return a text as a part of a message.
    """
    return {"type": "text", "text": {"value": text, "annotations": []}}


def none_found(thing_id: str, kind: str) -> ApiError:
    """
    Return the error of a thing that is not kept, or no longer.
    """
    return ApiError(f"No {kind} found with id '{thing_id}'.", status=404)


def run_value(
    run_id: str,
    thread: Thread,
    assistant: dict[str, Any],
    body: dict[str, Any],
    now_s: int,
) -> dict[str, Any]:
    """
    Return a run as it is shown when it begins.
    """

    def of(name: str, default: Any = None) -> Any:
        given = body.get(name)
        given = assistant.get(name) if given is None else given
        return default if given is None else given

    return {
        "id": run_id,
        "object": "thread.run",
        "created_at": now_s,
        "assistant_id": assistant["id"],
        "thread_id": thread.id,
        "status": "queued",
        "expires_at": now_s + RUN_LIFETIME_S,
        **{f"{stage}_at": None for stage in _STAGES},
        "last_error": None,
        "incomplete_details": None,
        "required_action": None,
        "model": of("model"),
        "instructions": of("instructions", ""),
        "tools": of("tools", []),
        "tool_choice": body.get("tool_choice") or "auto",
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "response_format": of("response_format", "auto"),
        "temperature": of("temperature", 1.0),
        "top_p": of("top_p", 1.0),
        "max_completion_tokens": body.get("max_completion_tokens"),
        "max_prompt_tokens": body.get("max_prompt_tokens"),
        "truncation_strategy": body.get("truncation_strategy")
        or {"type": "auto", "last_messages": None},
        "metadata": body.get("metadata") or {},
        "usage": None,
    }


def checkpoint(thread: Thread, run: Run | None) -> Callable[[], None]:
    """
    Return what makes everything as it is at this moment.
    """
    entries, active = list(thread.entries), thread.active
    if run is not None:
        kept = copy.deepcopy((run.value, run.steps, run.outputs, run.answered))

    def restore() -> None:
        thread.entries, thread.active = entries, active
        if run is not None:
            run.value, run.steps, run.outputs, run.answered = kept
            if run.chore is not None:
                run.chore.cancel()

    return restore
