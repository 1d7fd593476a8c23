"""
How sure a model is of its tokens: made up, always the same for the same token.
"""

import hashlib
import math
from typing import Any, Final

from mock_server.tokens import TOKENIZER

_WORDS: Final = "the of and to in is for that it with as on be at by this are from"
_ALTERNATIVES: Final = tuple(f" {word}" for word in _WORDS.split(" "))
_SHARE_MIN: Final = 0.5
"""What the chosen token has of all probability, at least."""


def logprobs_value(text: str, top_logprobs: int) -> list[dict[str, Any]]:
    """
    Return the log probability of every token of a text.

    Args:
        text: What the model says.
        top_logprobs: How many of the likeliest tokens are shown at each place.
    """
    return [_entry(token, top_logprobs) for token in TOKENIZER.split(text)]


def _entry(token: str, top_logprobs: int) -> dict[str, Any]:
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    share = _SHARE_MIN + (1 - _SHARE_MIN) * (digest[0] + 1) / 257
    likeliest = [(token, share)]
    rest = 1 - share
    others = [word for word in _ALTERNATIVES if word != token]
    for number in range(top_logprobs - 1):
        rest /= 2
        likeliest.append((others[(digest[1] + number) % len(others)], rest))
    return {
        **_scored(token, share),
        "top_logprobs": [_scored(*pair) for pair in likeliest[:top_logprobs]],
    }


def _scored(token: str, share: float) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": round(math.log(share), 8),
        "bytes": list(token.encode("utf-8", "replace")),
    }
