"""
``POST /v1/completions``: text goes on, as it was done before chats.

A prompt is to the script what a chat with one user message is.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from mock_server.surfaces.ports import Answer
from mock_server.surfaces.resources import Call, Resource, check_fields
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.wire import (
    ApiError,
    ChatRequest,
    Plan,
    Reply,
    StreamOptions,
    Usage,
    UserMessage,
    count_tokens,
    prompt_too_long,
)
from mock_server.wire.shape import (
    Anything,
    Array,
    Boolean,
    Either,
    Nullable,
    Number,
    Object,
    Shape,
    Table,
    Text,
)
from mock_server.wire.text_completions import TextForm, text_completion_plan

PROMPTS_MAX: Final = 128
CHOICES_MAX: Final = 128
MAX_TOKENS_DEFAULT: Final = 16
_START: Final = "<|endoftext|>"
_PENALTY: Final = Number(minimum=-2, maximum=2)
_BOOLEAN: Final = Nullable(shape=Boolean())
_OPTIONS: Final = Object(
    fields={"include_usage": _BOOLEAN, "include_obfuscation": _BOOLEAN}
)
_FIELDS: Final[dict[str, Shape]] = {
    "model": Text(length_min=1),
    "prompt": Anything(),
    "best_of": Number(minimum=1, maximum=20, whole=True),
    "echo": Boolean(),
    "frequency_penalty": _PENALTY,
    "logit_bias": Table(value=Number(minimum=-100, maximum=100)),
    "logprobs": Number(minimum=0, maximum=5, whole=True),
    "max_tokens": Number(minimum=0, whole=True),
    "n": Number(minimum=1, maximum=CHOICES_MAX, whole=True),
    "presence_penalty": _PENALTY,
    "seed": Number(whole=True),
    "stop": Either(text=Text(), other=Array(item=Text(), length_max=4)),
    "stream": Boolean(),
    "stream_options": _OPTIONS,
    "suffix": Text(),
    "temperature": Number(minimum=0, maximum=2),
    "top_p": Number(minimum=0, maximum=1),
    "user": Text(),
}


class Completions(Resource):
    """
    Lets prompts go on as the script says.

    Args:
        model: Replies to them.
    """

    name: ClassVar[str] = "completions"
    is_silent: ClassVar[bool] = False

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        super().__init__(model.api_keys, {"POST /completions": self._create})

    def _create(self, call: Call) -> Answer:
        body = call.body()
        name = self._model.model_of(body)
        if self._model.is_strict:
            check_fields(body, _FIELDS)
        prompts = parse_prompts(body.get("prompt"))
        answers = [self._answer_to(call, name, prompt, body) for prompt in prompts]
        refused = next((a for a in answers if a.reply is None), None)
        if refused is not None:
            for answer in answers:
                if answer is not refused and answer.undelivered is not None:
                    answer.undelivered()
            return refused
        first = answers[0]
        replies: list[Reply] = [answer.reply for answer in answers]
        demands = [answer.demand for answer in answers if answer.demand is not None]
        completion = sum(demand.completion_tokens_max for demand in demands)
        reply = replace(
            replies[0],
            others=tuple(c for reply in replies for c in reply.choices)[1:],
            usage=Usage(
                sum(reply.usage.prompt_tokens for reply in replies),
                sum(reply.usage.completion_tokens for reply in replies),
            ),
        )
        demand = replace(
            demands[0],
            prompt_tokens=sum(demand.prompt_tokens for demand in demands),
            completion_tokens_max=completion,
        )
        form = _form_of(body, prompts, len(replies[0].choices))
        encode = partial(_encode, call.request.request_id, form)
        return replace(first, reply=reply, encode=encode, demand=demand)

    def _answer_to(
        self, call: Call, model: str, prompt: str, body: Mapping[str, Any]
    ) -> Answer:
        max_tokens = _whole(body.get("max_tokens"))
        chat = ChatRequest(
            model=model,
            messages=[UserMessage(content=prompt)],
            max_tokens=MAX_TOKENS_DEFAULT if max_tokens is None else max_tokens,
            n=min(_whole(body.get("n")) or 1, CHOICES_MAX),
            stream=body.get("stream") is True,
            stream_options=StreamOptions(),
        )
        return self._model.reply_to(
            chat,
            call.request,
            call.world,
            encode=lambda _: (),
            id_prefix="cmpl-",
            too_long=prompt_too_long,
            prompt=count_tokens(prompt),
        )


def parse_prompts(value: Any) -> list[str]:
    """
    Return the texts of a prompt in any of its forms; token ids stand as their numbers.

    Raises:
        ApiError: It has none of them, or holds too much.
    """
    if value is None:
        return [_START]
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise _invalid()
    items = [value] if all(type(item) is int for item in value) else value
    if len(items) > PROMPTS_MAX:
        message = (
            f"Invalid 'prompt': array too long. Expected an array with maximum length "
            f"{PROMPTS_MAX}, but got an array with length {len(items)} instead."
        )
        raise ApiError(message, param="prompt", code="array_above_max_length")
    return [_text_of(item) for item in items]


def _text_of(item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, list) and item and all(type(token) is int for token in item):
        return " ".join(map(str, item))
    raise _invalid()


def _invalid() -> ApiError:
    return ApiError(
        "'$.prompt' is invalid. Please check the API reference: "
        "https://platform.openai.com/docs/api-reference."
    )


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_whole else None


def _form_of(body: Mapping[str, Any], prompts: list[str], each: int) -> TextForm:
    options = body.get("stream_options")
    echoes = tuple(prompt for prompt in prompts for _ in range(each))
    return TextForm(
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        logprobs=_whole(body.get("logprobs")),
        echoes=echoes if body.get("echo") is True else (),
    )


def _encode(request_id: str, form: TextForm, reply: Reply) -> Plan:
    # A fault may have changed how many choices there are.
    if form.echoes and len(form.echoes) != len(reply.choices):
        form = dataclasses.replace(form, echoes=())
    return text_completion_plan(reply, request_id=request_id, form=form)
