"""
``POST /v1/moderations``.

A category is flagged where one of its words stands in the text; nothing is understood.
"""

import re
from typing import Any, ClassVar, Final

from mock_server.draws import draw
from mock_server.hashes import sha256_of
from mock_server.minting import Mint
from mock_server.surfaces.resources import Call, Resource, Value, check_fields
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.wire import ApiError
from mock_server.wire.shape import Anything, Text

INPUTS_MAX: Final = 1024
_MODEL: Final = "omni-moderation-latest"
_FLAGGED_SCORE, _SPARED_SCORE = 0.9, 0.001
_SHARE = 0.1

_WORDS: Final = {
    "harassment": "idiot|moron|loser",
    "harassment/threatening": "i will hurt you|i will find you",
    "hate": "hate those people|subhuman",
    "hate/threatening": "exterminate them",
    "illicit": "shoplift|counterfeit|launder money",
    "illicit/violent": "build a bomb|make a bomb",
    "self-harm": "suicide|hurt myself|self-harm",
    "self-harm/intent": "i will kill myself|i want to die",
    "self-harm/instructions": "how to kill myself",
    "sexual": "porn|explicit sex",
    "sexual/minors": "child porn",
    "violence": "kill|murder|stab|bomb",
    "violence/graphic": "disembowel|dismember",
}
_PATTERNS: Final = {
    category: re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for category, words in _WORDS.items()
}
_FIELDS: Final = {"input": Anything(), "model": Text(length_min=1)}


class Moderations(Resource):
    """
    Says which texts hold words that it knows.

    Args:
        model: Checks keys.
        mint: Gives each answer an id.
    """

    name: ClassVar[str] = "moderations"

    def __init__(self, model: ScriptedModel, mint: Mint) -> None:
        self._is_strict = model.is_strict
        self._mint = mint
        super().__init__(model.api_keys, {"POST /moderations": self._create})

    def _create(self, call: Call) -> Value:
        body = call.body()
        if self._is_strict:
            check_fields(body, _FIELDS, required=["input"])
        texts = parse_texts(body.get("input"))
        place = (call.world.name, sha256_of(call.request.body))
        return {
            "id": self._mint.mint("modr-", *place),
            "model": body.get("model") or _MODEL,
            "results": [moderate(text) for text in texts],
        }


def parse_texts(value: Any) -> list[str]:
    """
    Return the texts of an input: one, several, or the parts of one.

    Raises:
        ApiError: It is none of them.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and 0 < len(value) <= INPUTS_MAX:
        if all(isinstance(item, str) for item in value):
            return value
        if all(isinstance(item, dict) for item in value):
            return [" ".join(str(item.get("text", "")) for item in value)]
    message = "'$.input' is invalid. Please check the API reference."
    raise ApiError(message, param="input")


def moderate(text: str) -> dict[str, Any]:
    """
    Return what is found in a text.
    """
    found = {name: bool(pattern.search(text)) for name, pattern in _PATTERNS.items()}
    scores = {
        name: (_FLAGGED_SCORE + _SHARE * draw(0, name, text))
        if is_found
        else _SPARED_SCORE * draw(0, name, text)
        for name, is_found in found.items()
    }
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in found},
    }
