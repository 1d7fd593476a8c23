"""
``/v1/batches``: many requests in one file, answered in another, later.

What a batch asks is asked of the surfaces themselves, without latency and faults.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import orjson

from mock_server.chores import Chore
from mock_server.core import Core
from mock_server.encoding import to_json_bytes
from mock_server.hashes import sha256_of
from mock_server.minting import Mint
from mock_server.script import BatchScript
from mock_server.shelf import Shelf
from mock_server.surfaces.api_events import ApiEvent
from mock_server.surfaces.batch_input import (
    BatchInputError,
    BatchRequest,
    parse_batch_input,
)
from mock_server.surfaces.files import Files, no_such_file
from mock_server.surfaces.ports import Surface, SurfaceRequest, WorldMemory
from mock_server.surfaces.resources import (
    METADATA,
    Call,
    Resource,
    Value,
    check_fields,
    page_of,
)
from mock_server.wire import ApiError, Chunk, Head, Plan
from mock_server.wire.shape import Object, Text

PAUSE_EVERY: Final = 50
"""After so many requests of a batch others get their turn."""

_FIRST_ERROR: Final = 400
_DONE: Final = frozenset({"completed", "failed", "expired", "cancelled", "cancelling"})
_STAGES: Final = (
    "in_progress",
    "expires",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


@dataclass(slots=True)
class Batch:
    """
    A batch and what is still to be done for it.
    """

    value: dict[str, Any]
    request: SurfaceRequest
    """The one that created it; its key is that of all requests of the batch."""

    world: WorldMemory
    requests: list[BatchRequest] = field(default_factory=list)
    started_s: float = 0.0
    chore: Chore | None = None

    @property
    def status(self) -> str:
        """
        The stage it is in.
        """
        return str(self.value["status"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    custom_id: str
    status: int
    request_id: str
    body: Any

    def line(self, line_id: str) -> bytes:
        response = {
            "status_code": self.status,
            "request_id": self.request_id,
            "body": self.body,
        }
        return to_json_bytes(
            {
                "id": line_id,
                "custom_id": self.custom_id,
                "response": response,
                "error": None,
            }
        )


class Batches(Resource):
    """
    Works batches off, in the time that the script gives them.

    Args:
        api_keys: Which keys are accepted; None for any.
        core: The parts of the mock.
        script: How long the stages take.
        files: Where input comes from and output goes to.
        surfaces: What can be asked, by endpoint, like ``/v1/chat/completions``.
        announce: Tells the service how a batch ended.
    """

    name: ClassVar[str] = "batches"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        core: Core,
        script: BatchScript,
        *,
        files: Files,
        surfaces: Mapping[str, Surface],
        announce: Callable[[ApiEvent], None],
    ) -> None:
        self._core = core
        self._script = script
        self._files = files
        self._surfaces = surfaces
        self._announce = announce
        self._mint = Mint(core.draws, things_max=core.limits.batches_max)
        self.shelf: Shelf[Batch] = Shelf(core.limits.batches_max)
        super().__init__(
            api_keys,
            {
                "POST /batches": self._create,
                "GET /batches": self._list,
                "GET /batches/{id}": self._get,
                "POST /batches/{id}/cancel": self._cancel,
            },
        )

    def _create(self, call: Call) -> Value:
        body = call.body()
        fields = {
            "input_file_id": Text(length_min=1),
            "endpoint": Text(words=tuple(self._surfaces)),
            "completion_window": Text(words=("24h",)),
            "metadata": METADATA,
            "output_expires_after": Object(fields={}),
        }
        required = ("input_file_id", "endpoint", "completion_window")
        check_fields(body, fields, required=required)
        file = self._files.read(call.world.name, body["input_file_id"])
        if file is None:
            raise no_such_file(body["input_file_id"])
        place = (call.world.name, body["input_file_id"], sha256_of(call.request.body))
        value = {
            "id": self._mint.mint(
                "batch_",
                *place,
                is_taken=lambda minted: (
                    self.shelf.get(call.world.name, minted) is not None
                ),
            ),
            "object": "batch",
            "endpoint": body["endpoint"],
            "model": None,
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": call.now_s,
            **{f"{stage}_at": None for stage in _STAGES},
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "usage": None,
            "metadata": body.get("metadata"),
        }
        value["expires_at"] = call.now_s + int(self._script.window_s)
        batch = Batch(value, call.request, call.world)
        self.shelf.put(call.world.name, value["id"], batch)
        self._later(batch, self._script.validating_s, self._validate)
        return dict(value)

    def _list(self, call: Call) -> Value:
        return page_of(
            self.shelf.of(call.world.name), call.request.query, show=self._shown
        )

    def _get(self, call: Call) -> Value:
        return self._shown(self._find_batch(call))

    def _cancel(self, call: Call) -> Value:
        batch = self._find_batch(call)
        if batch.status in _DONE:
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise ApiError(message, status=409)
        done = self._done_of(batch)
        self._enter(batch, "cancelling")
        if batch.chore is not None:
            batch.chore.cancel()

        async def finish(batch: Batch) -> None:
            await self._work(batch, done)
            self._end(batch, "cancelled")

        self._later(batch, self._script.finalizing_s, finish)
        return self._shown(batch)

    def _shown(self, batch: Batch) -> dict[str, Any]:
        value = dict(batch.value)
        if batch.status == "in_progress":
            counts = {**value["request_counts"], "completed": self._done_of(batch)}
            value["request_counts"] = counts
        return value

    def _done_of(self, batch: Batch) -> int:
        """
        Return how many requests have had their turn.
        """
        total = len(batch.requests)
        if batch.status != "in_progress" or self._script.in_progress_s <= 0:
            return total if batch.status == "finalizing" else 0
        elapsed_s = self._core.clock.monotonic() - batch.started_s
        return min(total, int(total * elapsed_s / self._script.in_progress_s))

    async def _validate(self, batch: Batch) -> None:
        value = batch.value
        file = self._files.read(batch.world.name, value["input_file_id"])
        try:
            batch.requests = parse_batch_input(
                b"" if file is None else file.data,
                endpoint=value["endpoint"],
                requests_max=self._core.limits.batch_requests_max,
            )
        except BatchInputError as error:
            value["errors"] = {"object": "list", "data": error.errors}
            self._end(batch, "failed")
            return
        value["model"] = batch.requests[0].body.get("model")
        value["request_counts"] = {
            **value["request_counts"],
            "total": len(batch.requests),
        }
        self._enter(batch, "in_progress")
        batch.started_s = self._core.clock.monotonic()
        left_s = self._script.window_s - self._script.validating_s
        if self._script.in_progress_s > left_s:
            self._later(batch, max(0.0, left_s), self._expire)
        else:
            self._later(batch, self._script.in_progress_s, self._finalize)

    async def _expire(self, batch: Batch) -> None:
        await self._work(batch, self._done_of(batch))
        self._end(batch, "expired")

    async def _finalize(self, batch: Batch) -> None:
        await self._work(batch, len(batch.requests))
        self._enter(batch, "finalizing")
        self._later(batch, self._script.finalizing_s, self._complete)

    async def _complete(self, batch: Batch) -> None:
        self._end(batch, "completed")

    async def _work(self, batch: Batch, requests_max: int) -> None:
        """
        Ask the first requests of a batch and write down what is answered.
        """
        results = []
        for number, request in enumerate(batch.requests[:requests_max], start=1):
            results.append(await self._ask(batch, request))
            if number % PAUSE_EVERY == 0:
                await self._core.clock.sleep(0)
        failed = [result for result in results if result.status >= _FIRST_ERROR]
        answered = [result for result in results if result.status < _FIRST_ERROR]
        value = batch.value
        value["request_counts"] = {
            "total": len(batch.requests),
            "completed": len(answered),
            "failed": len(failed),
        }
        value["usage"] = _usage([result.body for result in answered])
        value["output_file_id"] = self._write(batch, "output", answered)
        value["error_file_id"] = self._write(batch, "error", failed)

    async def _ask(self, batch: Batch, request: BatchRequest) -> _Result:
        batch_id = batch.value["id"]
        place = (batch_id, request.custom_id)
        draws = self._core.draws
        asked = SurfaceRequest(
            request_id=draws.mint_hex("req_", *place),
            method="POST",
            path=batch.value["endpoint"].removeprefix("/v1"),
            query={},
            headers={},
            body=orjson.dumps(_without_stream(request.body)),
            # So that no two requests are taken for one conversation.
            trace_id=draws.mint_hex("", *place),
            api_key=batch.request.api_key,
            received_s=self._core.clock.monotonic(),
            received_wall_s=self._core.clock.wall(),
        )
        try:
            surface = self._surfaces[batch.value["endpoint"]]
            answer = await surface.handle(asked, batch.world)
        except ApiError as error:
            return _Result(
                custom_id=request.custom_id,
                status=error.status,
                request_id=asked.request_id,
                body={"error": {"message": error.message, "code": error.code}},
            )
        plan = answer.plan
        if plan is None:
            plan = () if answer.encode is None else answer.encode(answer.reply)
        if answer.effect is not None:
            answer.effect()
        status, body = _read(plan)
        return _Result(
            custom_id=request.custom_id,
            status=status,
            request_id=asked.request_id,
            body=body,
        )

    def _write(self, batch: Batch, kind: str, results: list[_Result]) -> str | None:
        if not results:
            return None
        batch_id = batch.value["id"]
        lines = [
            result.line(
                self._core.draws.mint_hex("batch_req_", batch_id, result.custom_id)
            )
            for result in results
        ]
        file = self._files.write(
            batch.world.name,
            b"".join(line + b"\n" for line in lines),
            filename=f"{batch_id}_{kind}.jsonl",
            purpose="batch_output",
            now_s=int(self._core.clock.wall()),
        )
        return str(file["id"])

    def _enter(self, batch: Batch, stage: str) -> None:
        batch.value["status"] = stage
        batch.value[f"{stage}_at"] = int(self._core.clock.wall())

    def _end(self, batch: Batch, stage: str) -> None:
        self._enter(batch, stage)
        batch.chore = None
        self._announce(
            ApiEvent(
                world=batch.world.name,
                event_type=f"batch.{stage}",
                object_id=batch.value["id"],
                trace_id=batch.request.trace_id,
            )
        )

    def _later(
        self, batch: Batch, delay_s: float, work: Callable[[Batch], Any]
    ) -> None:
        async def do() -> None:
            await work(batch)

        batch.chore = self._core.chores.after(delay_s, do)

    def _find_batch(self, call: Call) -> Batch:
        batch = self.shelf.get(call.world.name, call.ids["id"])
        if batch is None:
            message = f"No batch found with id '{call.ids['id']}'."
            raise ApiError(message, status=404)
        return batch


def _without_stream(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "stream": False} if "stream" in body else body


def _read(plan: Plan) -> tuple[int, Any]:
    """
    Return the status and the JSON body of a plan.
    """
    status = next((step.status for step in plan if isinstance(step, Head)), 500)
    body = b"".join(step.data for step in plan if isinstance(step, Chunk))
    return status, orjson.loads(body) if body else None


def _usage(bodies: list[Any]) -> dict[str, Any]:
    """
    Return what all answers used together, whichever surface gave them.
    """
    usages = [body.get("usage") or {} for body in bodies if isinstance(body, dict)]

    def total(*names: str) -> int:
        return sum(usage.get(name) or 0 for usage in usages for name in names)

    tokens_in = total("prompt_tokens", "input_tokens")
    tokens_out = total("completion_tokens", "output_tokens")
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens_in + tokens_out,
    }
