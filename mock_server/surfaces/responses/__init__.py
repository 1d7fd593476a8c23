"""
The Responses API: creating responses, what is kept of them, and conversations.
"""

from mock_server.surfaces.responses.conversations import Conversations
from mock_server.surfaces.responses.create import Responses
from mock_server.surfaces.responses.memory import Memory
from mock_server.surfaces.responses.stored import StoredResponses, answer_of

__all__ = ["Conversations", "Memory", "Responses", "StoredResponses", "answer_of"]
