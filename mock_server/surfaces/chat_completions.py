"""
``POST /v1/chat/completions``.
"""

from functools import partial
from typing import ClassVar

from mock_server.faults import Target
from mock_server.surfaces.ports import Answer, SurfaceRequest, WorldMemory
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.stored_completions import StoredCompletions
from mock_server.wire import (
    ApiError,
    ChatRequest,
    Plan,
    Reply,
    StreamForm,
    chunk_plan,
    completion_plan,
    completion_whole,
    parse_chat_request,
    wrong_method,
)

PATH = "/chat/completions"


class ChatCompletions:
    """
    Answers chats from the script.

    Args:
        model: Replies to them.
        stored: Keeps those that ask for it, and answers what comes without a chat.
    """

    name: ClassVar[str] = "chat_completions"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = False

    def __init__(self, model: ScriptedModel, stored: StoredCompletions) -> None:
        self._model = model
        self._stored = stored

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what the script, or the API's own rules, make of a request.
        """
        return self.handle_now(request, world)

    def handle_now(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return the same; there is nothing to wait for.
        """
        model = self._model
        try:
            if request.api_key is None or model.api_keys is not None:
                model.check_api_key(request)
            if request.method != "POST":
                raise wrong_method(request.method, f"/v1{request.path}")
            chat = parse_chat_request(
                request.body, models=model.models, strict=model.is_strict
            )
        except ApiError as error:
            return model.refuse(request, error, world)
        store = None
        if chat.store:
            store = partial(self._stored.keep, chat, world)
        return model.reply_to(
            chat,
            request,
            world,
            encode=partial(encode_chat, chat, request.request_id),
            on_reply=store,
            whole=None if chat.stream else completion_whole,
        )


def encode_chat(chat: ChatRequest, request_id: str, reply: Reply) -> Plan:
    """
    Return the reply in the form that the chat asks for.
    """
    if not chat.stream:
        return completion_plan(reply, request_id=request_id)
    options = chat.stream_options
    form = StreamForm(
        include_usage=bool(options and options.include_usage),
        include_obfuscation=options is None or options.include_obfuscation is not False,
    )
    return chunk_plan(reply, request_id=request_id, form=form)
