"""
What a rule says to one request: its templates rendered, nothing minted yet.
"""

from collections.abc import Callable

import orjson
from msgspec import Struct

from mock_server.script.auto import choose_tool, value_for
from mock_server.script.rule import (
    ErrorScript,
    ReplyScript,
    ToolCallScript,
    UsageScript,
)
from mock_server.script.seen import Seen, name_of
from mock_server.script.templates import (
    Context,
    Render,
    compile_text,
    compile_value,
    has_template,
    to_json,
)
from mock_server.wire import (
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaResponseFormat,
    Tool,
    scripted_error,
)


class DrawnCall(Struct, frozen=True):
    """
    A tool call, its arguments as text.
    """

    name: str
    arguments: str
    id: str | None = None


class DrawnReply(Struct, frozen=True, kw_only=True):
    """
    What the model is to say.
    """

    text: str | None = None
    tool_calls: tuple[DrawnCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    """None: what the rest implies."""

    usage: UsageScript | None = None


Draw = Callable[[Seen, Callable[[], Context]], DrawnReply]
"""Draws a reply for a request; the context is only made for templates."""


class Constant(Struct, frozen=True):
    """
    Draws the same reply for every request.
    """

    reply: DrawnReply

    def __call__(self, seen: Seen, make_context: Callable[[], Context]) -> DrawnReply:
        """
        Return it.
        """
        del seen, make_context
        return self.reply


def compile_reply(reply: ReplyScript) -> Draw:
    """
    Return what draws a reply that is no sequence.

    Raises:
        TemplateError: A template in it cannot be read.
    """
    if reply.error is not None:
        return _compile_error(reply.error)
    if reply.auto:
        usage = reply.usage
        return lambda seen, _: draw_auto(seen, usage=usage)
    texts = (reply.text, reply.refusal, reply.reasoning)
    parts = [*texts, *(c.arguments for c in reply.tool_calls)]
    parts += [c.id for c in reply.tool_calls]
    render = _compile_answer(reply)
    if not any(map(has_template, parts)):
        return Constant(render({}))
    return lambda _, context: render(context())


def draw_auto(seen: Seen, *, usage: UsageScript | None = None) -> DrawnReply:
    """
    Return a reply made of the request alone: a call first, text once it is answered.
    """
    if not seen.results:
        tool = choose_tool(seen.request, seen.user_text)
        if tool is not None and seen.request.tool_choice != "none":
            return DrawnReply(tool_calls=(auto_call(tool),), usage=usage)
    return DrawnReply(text=default_text(seen), usage=usage)


def auto_call(tool: Tool) -> DrawnCall:
    """
    Return a call of a tool with arguments that its schema allows.
    """
    if not isinstance(tool, FunctionTool):
        return DrawnCall(name_of(tool), "text")
    raw = bytes(tool.function.parameters)
    value = value_for(orjson.loads(raw)) if raw else None
    # Arguments are an object, also where a schema says nothing of it.
    arguments = value if isinstance(value, dict) else {}
    return DrawnCall(tool.function.name, to_json(arguments))


def default_text(seen: Seen) -> str:
    """
    Return the text that answers when nothing else is scripted, in the form asked for.
    """
    match seen.request.response_format:
        case JsonSchemaResponseFormat(json_schema=form):
            raw = bytes(form.schema)
            return to_json(value_for(orjson.loads(raw)) if raw else {})
        case JsonObjectFormat():
            return to_json({"message": _plain_text(seen)})
        case _:
            return _plain_text(seen)


def _plain_text(seen: Seen) -> str:
    if seen.results:
        answers = "; ".join(result.content for result in seen.results)
        return f"The tools answered: {answers}"
    return f"You said: {seen.user_text}"


def _compile_error(error: ErrorScript) -> Draw:
    message = compile_text(error.message) if error.message is not None else None

    def draw(_: Seen, context: Callable[[], Context]) -> DrawnReply:
        raise scripted_error(
            status=error.status,
            message=None if message is None else message(context()),
            type=error.type,
            param=error.param,
            code=error.code,
            retry_after_s=error.retry_after,
            headers=error.headers,
            failure=error.failure,
        )

    return draw


def _compile_answer(reply: ReplyScript) -> Callable[[Context], DrawnReply]:
    text = _optional(reply.text)
    refusal = _optional(reply.refusal)
    reasoning = _optional(reply.reasoning)
    calls = [_compile_call(call) for call in reply.tool_calls]

    def render(context: Context) -> DrawnReply:
        return DrawnReply(
            text=text(context),
            tool_calls=tuple(call(context) for call in calls),
            refusal=refusal(context),
            reasoning=reasoning(context),
            finish_reason=reply.finish_reason,
            usage=reply.usage,
        )

    return render


def _optional(text: str | None) -> Render:
    return (lambda _: None) if text is None else compile_text(text)


def _compile_call(call: ToolCallScript) -> Callable[[Context], DrawnCall]:
    call_id = _optional(call.id)
    if isinstance(call.arguments, str):
        raw = compile_text(call.arguments)
        return lambda context: DrawnCall(call.name, raw(context), call_id(context))
    values = compile_value(call.arguments)
    return lambda context: DrawnCall(
        call.name, to_json(values(context)), call_id(context)
    )
