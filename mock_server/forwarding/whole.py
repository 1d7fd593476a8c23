"""
Bytes that are one whole request, as far as that can be told without reading it.

What a worker can pass on as it came need not be read twice.
"""

from typing import Final

DATA_BYTES_MAX: Final = 32 * 1024
"""What has more is read where it comes in, in pieces."""

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"
_REST: Final = len(_HEAD_END)
_DIGITS_MAX: Final = 16


def body_bytes_in(data: bytes) -> int:
    """
    Return how many bytes there are after the first head.
    """
    return len(data) - data.find(_HEAD_END) - _REST


def is_whole(data: bytes, body_bytes_max: int) -> bool:
    """
    Say whether bytes are one request, of which its connection need know no more.

    Args:
        data: What came in, from the beginning of a request on.
        body_bytes_max: A larger body is refused by whoever reads it.
    """
    end = data.find(_HEAD_END)
    if end < 0 or len(data) > DATA_BYTES_MAX:
        return False
    body_bytes = len(data) - end - _REST
    head = data[:end].lower()
    if (
        body_bytes > body_bytes_max
        or b"expect:" in head
        or b"transfer-encoding" in head
        or b"upgrade" in head
    ):
        return False
    place = head.find(_LENGTH)
    if place < 0:
        return body_bytes == 0
    start = place + len(_LENGTH)
    digits = head[start : start + _DIGITS_MAX].partition(b"\r")[0].strip()
    # A second one is a mistake, or an attempt to smuggle a request past somebody.
    return (
        digits.isdigit() and int(digits) == body_bytes and head.find(_LENGTH, start) < 0
    )
