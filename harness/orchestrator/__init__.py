"""
What a chat does next, and doing it.

Deciding is a pure state machine (``conversation``); :class:`ChatLoop` does what it
says, :class:`ToolCalls` runs one tool call, :class:`Orchestrator` serves callers that
wait, :class:`Callbacks` those that do not.
"""

from harness.orchestrator.announcements import Announcements
from harness.orchestrator.callbacks import Callbacks
from harness.orchestrator.calls import CallOutcome, PutOff, ToolCalls
from harness.orchestrator.chat import (
    Chat,
    ChatCommand,
    ChatListener,
    ChatMode,
    ChatResult,
    Progress,
)
from harness.orchestrator.conversation import (
    Answer,
    AskModel,
    CallTools,
    Conversation,
    FinishedCall,
    Message,
    Move,
    PlannedCall,
    WaitFor,
    answered,
    completed,
    deferred,
    from_json,
    next_move,
    remembered,
    started,
    to_json,
)
from harness.orchestrator.failures import (
    INTERNAL,
    CallerLeftError,
    Failure,
    SessionForeignError,
    describe,
    first_error,
)
from harness.orchestrator.idempotency import IdempotencyKeys
from harness.orchestrator.loop import ChatLoop, ModelClient
from harness.orchestrator.options import OrchestratorOptions
from harness.orchestrator.orchestrator import Orchestrator
from harness.orchestrator.pending import CallReader, PendingCalls
from harness.orchestrator.sessions import Sessions
from harness.orchestrator.tasks import OwnedTasks

__all__ = [
    "INTERNAL",
    "Announcements",
    "Answer",
    "AskModel",
    "CallOutcome",
    "CallReader",
    "CallTools",
    "Callbacks",
    "CallerLeftError",
    "Chat",
    "ChatCommand",
    "ChatListener",
    "ChatLoop",
    "ChatMode",
    "ChatResult",
    "Conversation",
    "Failure",
    "FinishedCall",
    "IdempotencyKeys",
    "Message",
    "ModelClient",
    "Move",
    "Orchestrator",
    "OrchestratorOptions",
    "OwnedTasks",
    "PendingCalls",
    "PlannedCall",
    "Progress",
    "PutOff",
    "SessionForeignError",
    "Sessions",
    "ToolCalls",
    "WaitFor",
    "answered",
    "completed",
    "deferred",
    "describe",
    "first_error",
    "from_json",
    "next_move",
    "remembered",
    "started",
    "to_json",
]
