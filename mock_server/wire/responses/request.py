"""
A request of the Responses API: its body, and its input as items.

Items stay the mappings that were sent: they are echoed, stored and listed as they are,
whatever fields a client puts into them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Item = Mapping[str, Any]
"""One item of an input or an output."""

CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
"""The kinds of item that ask for an answer, with the API's words for them."""

OUTPUTS = {f"{kind}_output": kind for kind in CALLS}
"""The kinds of item that are such an answer, with the kind they answer."""


LOGPROBS = "message.output_text.logprobs"
"""Included on request: how sure the model is of each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesRequest:
    """
    The body of ``POST /v1/responses``, checked.
    """

    fields: Mapping[str, Any]
    """The body; what is null is left out."""

    items: tuple[Item, ...] = field(default=())
    """The input; a text stands as a message of the user."""

    @property
    def model(self) -> str:
        """
        The model that is asked.
        """
        return str(self.fields["model"])

    @property
    def streams(self) -> bool:
        """
        Whether the answer is a stream.
        """
        return bool(self.fields.get("stream"))

    @property
    def is_background(self) -> bool:
        """
        Whether the answer is worked off after the request has been answered.
        """
        return bool(self.fields.get("background"))

    @property
    def is_stored(self) -> bool:
        """
        Whether the response can be asked for later.
        """
        return self.fields.get("store") is not False

    @property
    def previous_response_id(self) -> str | None:
        """
        The response that this one continues.
        """
        return self.fields.get("previous_response_id")

    @property
    def conversation_id(self) -> str | None:
        """
        The stored conversation that this response belongs to.
        """
        given = self.fields.get("conversation")
        return given.get("id") if isinstance(given, Mapping) else given

    @property
    def tools(self) -> tuple[Item, ...]:
        """
        The offered tools, those of namespaces among them.
        """
        return tuple(tool for _, tool in self.placed_tools)

    @property
    def placed_tools(self) -> tuple[tuple[str, Item], ...]:
        """
        The offered tools, each with its path in the body.
        """
        placed: list[tuple[str, Item]] = []
        for index, tool in enumerate(self.fields.get("tools") or ()):
            path = f"tools[{index}]"
            if tool.get("type") == "namespace":
                inner = tool.get("tools") or ()
                placed += [(f"{path}.tools[{n}]", t) for n, t in enumerate(inner)]
            else:
                placed.append((path, tool))
        return tuple(placed)

    @property
    def namespaces(self) -> Mapping[str, str]:
        """
        The namespace of each tool that has one.
        """
        return {
            inner["name"]: tool["name"]
            for tool in self.fields.get("tools") or ()
            if tool.get("type") == "namespace"
            for inner in tool.get("tools") or ()
            if "name" in inner and "name" in tool
        }

    @property
    def text_format(self) -> Item:
        """
        The form that the text must have.
        """
        text = self.fields.get("text") or {}
        return text.get("format") or {"type": "text"}

    @property
    def includes(self) -> frozenset[str]:
        """
        What the answer shall hold besides.
        """
        return frozenset(self.fields.get("include") or ())

    @property
    def top_logprobs(self) -> int | None:
        """
        How many likely tokens are shown at each place; None shows no probabilities.
        """
        if LOGPROBS not in self.includes:
            return None
        return int(self.fields.get("top_logprobs") or 0)

    @property
    def obfuscates(self) -> bool:
        """
        Whether a stream hides how long its pieces are.
        """
        options = self.fields.get("stream_options") or {}
        return options.get("include_obfuscation") is not False


def kind_of(item: Item) -> str:
    """
    Return an item's type, which messages and references may leave out.
    """
    kind = item.get("type")
    if kind is not None:
        return str(kind)
    return "message" if "role" in item or "content" in item else "item_reference"


def as_items(given: Any) -> tuple[Item, ...]:
    """
    Return an input as items, contents as parts.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return tuple(_as_listed(item) for item in given)


def _as_listed(item: Item) -> Item:
    if kind_of(item) != "message":
        return item
    content = item.get("content")
    if isinstance(content, str):
        if item.get("role") == "assistant":
            part: Item = {"type": "output_text", "annotations": [], "text": content}
        else:
            part = {"type": "input_text", "text": content}
        content = [part]
    return {**item, "type": "message", "content": content}


def text_of_parts(content: Any) -> str:
    """
    Return the text of a content: its text parts joined, anything else left out.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "".join(text for text in texts if isinstance(text, str))
