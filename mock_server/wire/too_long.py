"""
The errors of a prompt that a model cannot hold, in the words of each surface.
"""

from mock_server.wire.errors import ApiError

_CODE = "context_length_exceeded"


def context_too_long(window: int, prompt: int, completion: int) -> ApiError:
    """
    Return the error of a chat.
    """
    if completion == 0:
        asked = f"your messages resulted in {prompt} tokens"
        hint = "Please reduce the length of the messages."
    else:
        asked = (
            f"you requested {prompt + completion} tokens ({prompt} in the messages, "
            f"{completion} in the completion)"
        )
        hint = "Please reduce the length of the messages or completion."
    message = (
        f"This model's maximum context length is {window} tokens. However, {asked}. "
        f"{hint}"
    )
    return ApiError(message, param="messages", code=_CODE)


def prompt_too_long(window: int, prompt: int, completion: int) -> ApiError:
    """
    Return the error of a prompt without messages.
    """
    message = (
        f"This model's maximum context length is {window} tokens, however you "
        f"requested {prompt + completion} tokens ({prompt} in your prompt; "
        f"{completion} for the completion). Please reduce your prompt; or completion "
        "length."
    )
    return ApiError(message, code=_CODE)
