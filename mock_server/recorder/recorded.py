"""
What was recorded: a question, its answer, and how long that took.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    A question, as the rules of a script see it.
    """

    conversation: str
    """Whose order the answers to one and the same question keep."""

    model: str
    turn: int
    last_role: str
    last_text: str | None
    """Without its tag; None where it is not known."""

    user_texts: tuple[str, ...] = ()
    """What the user said, oldest first, without tags."""

    system_text: str | None = None
    tools: tuple[str, ...] = ()
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """
    A tool call that the model asked for.
    """

    id: str
    name: str
    arguments: str
    """As text; for a custom tool its free input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedError:
    """
    A refusal in the API's own shape.
    """

    status: int
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Those that say when to ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReply:
    """
    What came back.
    """

    text: str | None = None
    tool_calls: tuple[RecordedCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    """None where the rest of the reply implies it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: RecordedError | None = None

    @property
    def without_ids(self) -> "RecordedReply":
        """
        The same but for the ids of its calls, which differ from chat to chat.
        """
        calls = tuple(replace(call, id="") for call in self.tool_calls)
        return replace(self, tool_calls=calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """
    How long the parts of an answer took.
    """

    time_to_first_token_s: float = 0.0
    inter_token_s: tuple[float, ...] = ()
    """Before each further output of the mock's own stream of the same reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """
    One exchange.
    """

    asked: Asked
    reply: RecordedReply
    timing: Timing

    @property
    def kept_bytes(self) -> int:
        """
        About what it takes in memory.
        """
        asked, reply = self.asked, self.reply
        texts = [asked.last_text or "", *asked.user_texts, asked.system_text or ""]
        texts += [reply.text or "", reply.refusal or ""]
        texts += [call.arguments for call in reply.tool_calls]
        return sum(map(len, texts)) + 8 * len(self.timing.inter_token_s)


class UnreadableError(Exception):
    """
    An exchange that no script can repeat; the text says why.
    """
