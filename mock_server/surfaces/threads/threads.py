"""
``/v1/threads``: messages, and what became of the runs over them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from mock_server.chores import Chores
from mock_server.hashes import sha256_of
from mock_server.surfaces.ports import Answer
from mock_server.surfaces.resources import (
    METADATA,
    Call,
    Resource,
    Value,
    check_fields,
    page_of,
    value_plan,
)
from mock_server.surfaces.threads.requests import MESSAGE, THREAD, content_text
from mock_server.surfaces.threads.state import (
    Entry,
    Run,
    Thread,
    ThreadMemory,
    none_found,
)
from mock_server.wire import ApiError, standard_headers

_CHANGES = {"metadata": METADATA}


class Threads(Resource):
    """
    Keeps threads and hands them out again; what asks the model is done elsewhere.

    Args:
        api_keys: Which keys are accepted; None for any.
        memory: Where they are kept.
        chores: Does what takes a moment.
        poll_after_s: When a poller is told to come back.
    """

    name: ClassVar[str] = "threads"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        memory: ThreadMemory,
        chores: Chores,
        *,
        poll_after_s: float,
    ) -> None:
        self._memory = memory
        self._chores = chores
        self._poll_after_s = poll_after_s
        message = "/threads/{thread}/messages"
        run = "/threads/{thread}/runs/{run}"
        super().__init__(
            api_keys,
            {
                "POST /threads": self._create,
                "GET /threads/{thread}": self._get,
                "POST /threads/{thread}": self._update,
                "DELETE /threads/{thread}": self._delete,
                f"POST {message}": self._add_message,
                f"GET {message}": self._list_messages,
                f"GET {message}/{{message}}": self._get_message,
                f"POST {message}/{{message}}": self._update_message,
                f"DELETE {message}/{{message}}": self._delete_message,
                "GET /threads/{thread}/runs": self._list_runs,
                f"GET {run}": self._get_run,
                f"POST {run}": self._update_run,
                f"POST {run}/cancel": self._cancel_run,
                f"GET {run}/steps": self._list_steps,
                f"GET {run}/steps/{{step}}": self._get_step,
            },
        )

    def _create(self, call: Call) -> Value:
        body = call.body()
        check_fields(body, THREAD)
        thread = make_thread(body, call, self._memory)
        self._memory.threads.put(call.world.name, thread.id, thread)
        return thread.value

    def _get(self, call: Call) -> Value:
        return self._thread_of(call).value

    def _update(self, call: Call) -> Value:
        thread = self._thread_of(call)
        body = call.body()
        check_fields(body, {**_CHANGES, "tool_resources": THREAD["tool_resources"]})
        thread.value = {**thread.value, **body}
        return thread.value

    def _delete(self, call: Call) -> Value:
        thread = self._thread_of(call)
        self._memory.threads.pop(call.world.name, thread.id)
        return {"id": thread.id, "object": "thread.deleted", "deleted": True}

    def _add_message(self, call: Call) -> Value:
        thread = self._thread_of(call)
        body = call.body()
        check_fields(body, MESSAGE, required=["role"])
        text = content_text(body.get("content"), "content")
        if thread.active is not None:
            thread.active.expire_if_due(call.now_s)
        if thread.active is not None:
            message = (
                f"Can't add messages to {thread.id} while a run {thread.active.id} "
                "is active."
            )
            raise ApiError(message)
        shown = self._memory.add_message(thread, body["role"], text, now_s=call.now_s)
        shown["metadata"] = body.get("metadata") or {}
        return shown

    def _list_messages(self, call: Call) -> Value:
        query = call.request.query
        shown = [
            entry.shown
            for entry in self._thread_of(call).entries
            if entry.shown is not None
            and query.get("run_id") in {None, entry.shown["run_id"]}
        ]
        return page_of(shown, query, show=lambda message: message)

    def _get_message(self, call: Call) -> Value:
        return self._message_of(call)[1]

    def _update_message(self, call: Call) -> Value:
        _, shown = self._message_of(call)
        body = call.body()
        check_fields(body, _CHANGES)
        shown["metadata"] = body.get("metadata") or {}
        return shown

    def _delete_message(self, call: Call) -> Value:
        entry, shown = self._message_of(call)
        self._thread_of(call).entries.remove(entry)
        return {"id": shown["id"], "object": "thread.message.deleted", "deleted": True}

    def _list_runs(self, call: Call) -> Value:
        thread = self._thread_of(call)
        kept = [
            run
            for run in self._memory.runs.of(call.world.name)
            if run.thread.id == thread.id
        ]
        return page_of(kept, call.request.query, show=lambda run: run.value)

    def _get_run(self, call: Call) -> Answer:
        run = self._run_of(call)
        headers = (
            *standard_headers(call.request.request_id),
            poll_header(self._poll_after_s),
        )
        return Answer(keys=call.keys, plan=value_plan(run.value, headers))

    def _update_run(self, call: Call) -> Value:
        run = self._run_of(call)
        body = call.body()
        check_fields(body, _CHANGES)
        run.value["metadata"] = body.get("metadata") or {}
        return run.value

    def _cancel_run(self, call: Call) -> Value:
        run = self._run_of(call)
        if run.status not in {"queued", "in_progress", "requires_action"}:
            message = f"Cannot cancel run with status '{run.status}'."
            raise ApiError(message)
        if run.chore is not None:
            run.chore.cancel()
        run.enter("cancelling", call.now_s)
        value = dict(run.value)

        async def cancel() -> None:
            run.enter("cancelled", call.now_s)

        run.chore = self._chores.after(0, cancel)
        return value

    def _list_steps(self, call: Call) -> Value:
        steps = self._run_of(call).steps
        return page_of(steps, call.request.query, show=lambda step: step)

    def _get_step(self, call: Call) -> Value:
        for step in self._run_of(call).steps:
            if step["id"] == call.ids["step"]:
                return step
        raise none_found(call.ids["step"], "run step")

    def _thread_of(self, call: Call) -> Thread:
        return self._memory.thread(call.world.name, call.ids["thread"])

    def _run_of(self, call: Call) -> Run:
        ids = call.ids
        run = self._memory.run(call.world.name, ids["run"], ids["thread"])
        run.expire_if_due(call.now_s)
        return run

    def _message_of(self, call: Call) -> tuple[Entry, dict[str, Any]]:
        for entry in self._thread_of(call).entries:
            shown = entry.shown
            if shown is not None and shown["id"] == call.ids["message"]:
                return entry, shown
        raise none_found(call.ids["message"], "message")


def make_thread(body: dict[str, Any], call: Call, memory: ThreadMemory) -> Thread:
    """
    Return a thread with its first messages; it is not kept.

    Raises:
        ApiError: A message has no text, or there are too many.
    """
    place = (call.world.name, sha256_of(call.request.body))
    value = {
        "id": memory.mint.mint(
            "thread_",
            *place,
            is_taken=lambda minted: (
                memory.threads.get(call.world.name, minted) is not None
            ),
        ),
        "object": "thread",
        "created_at": call.now_s,
        "metadata": body.get("metadata") or {},
        "tool_resources": body.get("tool_resources") or {},
    }
    thread = Thread(value)
    for index, message in enumerate(body.get("messages") or ()):
        text = content_text(message["content"], f"messages[{index}].content")
        shown = memory.add_message(thread, message["role"], text, now_s=call.now_s)
        shown["metadata"] = message.get("metadata") or {}
    return thread


def poll_header(poll_after_s: float) -> tuple[str, str]:
    """
    Return what tells a poller when to come back.
    """
    return ("openai-poll-after-ms", str(round(poll_after_s * 1000)))
