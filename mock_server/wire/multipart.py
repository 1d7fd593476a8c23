"""
The parts of a ``multipart/form-data`` body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mock_server.wire.errors import ApiError

PARTS_MAX: Final = 64
_BOUNDARY: Final = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_PARAMETER: Final = re.compile(
    r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class FormPart:
    """
    One field of a form.
    """

    name: str
    data: bytes
    filename: str | None = None

    @property
    def text(self) -> str:
        """
        The field as text.
        """
        return self.data.decode("utf-8", "replace")


def parse_form(body: bytes, content_type: str) -> dict[str, FormPart]:
    """
    Return the fields of a form by their names; the last of one name counts.

    Raises:
        ApiError: It is no form, or has too many fields.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        message = (
            "Invalid Content-Type header. Expected one of 'multipart/form-data', but "
            f"got '{content_type[:100]}'."
        )
        raise ApiError(message)
    delimiter = b"\r\n--" + found[1].encode("latin-1", "replace")
    # The first delimiter has no line end before it.
    pieces = (b"\r\n" + body).split(delimiter, PARTS_MAX + 2)
    if len(pieces) > PARTS_MAX + 2:
        message = f"A form has at most {PARTS_MAX} fields."
        raise ApiError(message)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - begin and end
        message = "Could not parse multipart form."
        raise ApiError(message)
    return {part.name: part for part in _parts(pieces[1:-1])}


def _parts(pieces: list[bytes]) -> Iterator[FormPart]:
    for piece in pieces:
        head, _, data = piece.partition(b"\r\n\r\n")
        for line in head.decode("utf-8", "replace").split("\r\n"):
            if line.lower().startswith("content-disposition:"):
                fields = {key.lower(): value for key, value in _PARAMETER.findall(line)}
                if "name" in fields:
                    yield FormPart(fields["name"], data, fields.get("filename"))
