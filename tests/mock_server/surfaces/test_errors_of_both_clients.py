"""
Every class of error of the official client, on every surface that can have it.

Both clients, blocking and asynchronous, believe no answer that their types forbid
(``_strict_response_validation``).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import openai
import pytest
from pydantic import BaseModel

from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.sockets

MODEL: Final = "gpt-4o"
SAID: Final = [{"role": "user", "content": "hello"}]
SCRIPT: Final = """
upstream:
  script: [{reply: {text: "one two three four"}}]
"""


class City(BaseModel):
    city: str


Ask = Callable[[Any], Any]
PLAIN: Final[dict[str, Ask]] = {
    "chat": lambda c: c.chat.completions.create(model=MODEL, messages=SAID),
    "response": lambda c: c.responses.create(model=MODEL, input="hello"),
    "embedding": lambda c: c.embeddings.create(
        model=MODEL, input="hello", encoding_format="float"
    ),
    "completion": lambda c: c.completions.create(model=MODEL, prompt="hello"),
    "moderation": lambda c: c.moderations.create(input="hello"),
    "models": lambda c: c.models.list(),
    "files": lambda c: c.files.list(),
    "batches": lambda c: c.batches.list(),
    "conversation": lambda c: c.conversations.create(),
    "webhooks": lambda c: c.webhooks.list(),
    "stored": lambda c: c.chat.completions.list(),
}
STREAMED: Final[dict[str, Ask]] = {
    "chat streamed": lambda c: c.chat.completions.create(
        model=MODEL, messages=SAID, stream=True
    ),
    "response streamed": lambda c: c.responses.create(
        model=MODEL, input="hello", stream=True
    ),
}
ASKS: Final = {**PLAIN, **STREAMED}
ASKS_OF_MODELS: Final = {
    name: ask
    for name, ask in ASKS.items()
    if name.split()[0] in {"chat", "response", "embedding", "completion"}
}


def blocked(client: openai.OpenAI, ask: Ask) -> Exception | None:
    """
    Return what the blocking client raises.
    """
    try:
        answer = ask(client)
        if isinstance(answer, openai.Stream):
            list(answer)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is asked
        return error
    return None


async def awaited(client: openai.AsyncOpenAI, ask: Ask) -> Exception | None:
    """
    Return what the asynchronous client raises.
    """
    try:
        answer = await ask(client)
        if isinstance(answer, openai.AsyncStream):
            async for _event in answer:
                pass
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is asked
        return error
    return None


class Pair:
    """
    Both clients of a mock, whose faults are changed while it runs.
    """

    def __init__(self, mock: MockInTest, read_timeout_s: float) -> None:
        self._mock = mock
        self._options: dict[str, Any] = {
            "base_url": mock.running.base_url,
            "api_key": "sk-good-0123456789",
            "max_retries": 0,
            "_strict_response_validation": True,
            "timeout": httpx2.Timeout(30.0, read=read_timeout_s),
        }
        self.blocking = openai.OpenAI(**self._options)
        self.awaiting = openai.AsyncOpenAI(**self._options)

    async def close(self) -> None:
        """
        Close both.
        """
        self.blocking.close()
        await self.awaiting.close()

    async def errors_under(
        self, asks: dict[str, Ask], fault: str, **parameters: Any
    ) -> dict[str, Exception | None]:
        """
        Return what a client raises under a fault, for each that is asked of it.
        """
        added = await self._mock.send(
            "POST",
            "/_mock/faults",
            {"target": "upstream", "fault": fault, **parameters},
        )
        assert added.status in {200, 201}, added.body

        def block() -> dict[str, Exception | None]:
            return {
                f"{name}, blocking": blocked(self.blocking, ask)
                for name, ask in asks.items()
            }

        errors = await asyncio.to_thread(block)
        for name, ask in asks.items():
            errors[f"{name}, awaiting"] = await awaited(self.awaiting, ask)
        await self._mock.send("DELETE", "/_mock/faults")
        return errors


@asynccontextmanager
async def pair_of(script: str, *, read_timeout_s: float = 30.0) -> AsyncIterator[Pair]:
    """
    Run a mock with both clients.
    """
    async with mock_in_test(script) as mock:
        pair = Pair(mock, read_timeout_s)
        try:
            yield pair
        finally:
            await pair.close()


STATUSES: Final[dict[int, type[openai.APIStatusError]]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    529: openai.InternalServerError,
}


async def test_statuses() -> None:
    """
    Each status is the client's own error, with everything that the envelope says.
    """
    async with pair_of(SCRIPT) as pair:
        for status, kind in STATUSES.items():
            errors = await pair.errors_under(
                ASKS, "status", status=status, message="No.", type="t", code="c"
            )
            for name, error in errors.items():
                assert type(error) is kind, (name, error)
                assert error.status_code == status
                assert (error.type, error.code, error.param) == ("t", "c", None)
                assert error.message.endswith("No."), name
                assert (error.request_id or "").startswith("req_")


async def test_errors_with_a_name() -> None:
    """
    Errors of the catalogue carry the codes that clients tell them apart by.
    """
    named = {
        "rate_limited": (429, "rate_limit_exceeded"),
        "quota_exhausted": (429, "insufficient_quota"),
        "context_length_exceeded": (400, "context_length_exceeded"),
        "model_not_found": (404, "model_not_found"),
        "invalid_api_key": (401, "invalid_api_key"),
        "server_overloaded": (503, None),
    }
    of_models = {"context_length_exceeded", "model_not_found"}
    async with pair_of(SCRIPT) as pair:
        for fault, (status, code) in named.items():
            asks = ASKS_OF_MODELS if fault in of_models else ASKS
            errors = await pair.errors_under(asks, fault)
            for name, error in errors.items():
                # Of the Responses API an unknown model is a bad request.
                of_responses = name.startswith("response")
                wanted = 400 if of_responses and status == 404 else status
                assert isinstance(error, openai.APIStatusError), (name, error)
                assert (error.status_code, error.code) == (wanted, code), name


async def test_errors_of_models_spare_all_else() -> None:
    """
    Where no model is asked, no model can be missing.
    """
    asks = {name: PLAIN[name] for name in ("models", "files", "conversation")}
    async with pair_of(SCRIPT) as pair:
        errors = await pair.errors_under(asks, "model_not_found")

    assert set(errors.values()) == {None}


@pytest.mark.parametrize(
    "fault", ["close_before_headers", "reset_before_headers", "disconnect", "bad_gzip"]
)
async def test_lost_connections(fault: str) -> None:
    """
    An answer that does not come whole is an error of the connection.
    """
    async with pair_of(SCRIPT) as pair:
        errors = await pair.errors_under(ASKS, fault)

    for name, error in errors.items():
        assert type(error) is openai.APIConnectionError, (name, error)


@pytest.mark.parametrize("fault", ["black_hole", "stall"])
async def test_timeouts(fault: str) -> None:
    """
    What never comes, or never goes on, is given up as the client was told to.
    """
    asks = {name: ASKS[name] for name in ("chat", "response", *STREAMED)}
    async with pair_of(SCRIPT, read_timeout_s=0.1) as pair:
        errors = await pair.errors_under(asks, fault)

    for name, error in errors.items():
        assert type(error) is openai.APITimeoutError, (name, error)


Invalid = openai.APIResponseValidationError
Kind = type[Exception] | None
Broken = tuple[str, dict[str, Any], Kind, Kind]
BROKEN: Final[tuple[Broken, ...]] = (
    # Fault, parameters, what a plain answer raises, what a streamed one does. The
    # client takes a stream for whole however early it ends: the bytes alone show it.
    ("html_page", {"status": 200}, Invalid, None),
    ("wrong_content_type", {"content_type": "text/html"}, None, None),
    ("empty_body", {}, json.JSONDecodeError, None),
    ("truncate", {}, json.JSONDecodeError, None),
    ("malformed_event", {}, json.JSONDecodeError, json.JSONDecodeError),
    ("error_event", {}, None, openai.APIError),
    ("missing_done", {}, None, None),
)


@pytest.mark.parametrize(("fault", "parameters", "plain", "streamed"), BROKEN, ids=str)
async def test_broken_answers(
    fault: str,
    parameters: dict[str, Any],
    plain: Kind,
    streamed: Kind,
) -> None:
    """
    What is no answer is believed by neither client, where it can be seen at all.
    """
    async with pair_of(SCRIPT) as pair:
        of_plain = await pair.errors_under(PLAIN, fault, **parameters)
        of_streams = await pair.errors_under(STREAMED, fault, **parameters)

    for errors, kind in ((of_plain, plain), (of_streams, streamed)):
        for name, error in errors.items():
            assert (None if error is None else type(error)) is kind, (name, error)


async def test_answers_of_another_shape() -> None:
    """
    An answer without its main part fails the client's own types.
    """
    asks = {name: ASKS[name] for name in ("chat", "response", "completion", *STREAMED)}
    async with pair_of(SCRIPT) as pair:
        errors = await pair.errors_under(asks, "choices", form="absent")

    for name, error in errors.items():
        assert type(error) is Invalid, (name, error)


TYPED: Final[dict[str, Ask]] = {
    "parsed": lambda c: c.chat.completions.parse(
        model=MODEL, messages=SAID, response_format=City
    )
}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("length", openai.LengthFinishReasonError),
        ("content_filter", openai.ContentFilterFinishReasonError),
    ],
)
async def test_typed_answers_that_end_early(reason: str, kind: type[Exception]) -> None:
    """
    Structured output that was cut or filtered is not parsed.
    """
    script = f"""
        upstream:
          script: [{{reply: {{text: '{{"city": "Pa', finish_reason: {reason}}}}}]
    """
    async with pair_of(script) as pair:
        errors = await pair.errors_under(TYPED, "request_id")

    assert [type(error) for error in errors.values()] == [kind, kind]
