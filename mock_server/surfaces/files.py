"""
``/v1/files``: what is uploaded, and what batches write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mock_server.hashes import sha256_of
from mock_server.minting import Mint
from mock_server.shelf import Shelf
from mock_server.surfaces.resources import Call, Content, Resource, Value, page_of
from mock_server.wire import ApiError
from mock_server.wire.multipart import FormPart, parse_form
from mock_server.wire.shape import Text, missing

LIST_MAX: Final = 10_000
_PURPOSES: Final = (
    "assistants",
    "batch",
    "fine-tune",
    "vision",
    "user_data",
    "evals",
)
_EXPIRES_MIN_S, _EXPIRES_MAX_S = 3600, 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class KeptFile:
    """
    A file and what the API says of it.
    """

    value: dict[str, Any]
    data: bytes


class Files(Resource):
    """
    Keeps files and hands them out again.

    Args:
        api_keys: Which keys are accepted; None for any.
        mint: Gives files their ids.
        files_max: How many are kept; the oldest make room.
        file_bytes_max: What they may hold together; the oldest make room.
    """

    name: ClassVar[str] = "files"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        mint: Mint,
        *,
        files_max: int,
        file_bytes_max: int,
    ) -> None:
        self._mint = mint
        self.shelf: Shelf[KeptFile] = Shelf(files_max, bytes_max=file_bytes_max)
        super().__init__(
            api_keys,
            {
                "POST /files": self._upload,
                "GET /files": self._list,
                "GET /files/{id}": self._get,
                "DELETE /files/{id}": self._delete,
                "GET /files/{id}/content": self._content,
            },
        )

    def write(
        self,
        world: str,
        data: bytes,
        *,
        filename: str,
        purpose: str,
        now_s: int,
        expires_s: int | None = None,
    ) -> dict[str, Any]:
        """
        Keep a file and return what the API says of it.
        """
        file_id = self._mint.mint(
            "file-",
            world,
            filename,
            sha256_of(data),
            is_taken=lambda minted: self.read(world, minted) is not None,
        )
        value = {
            "object": "file",
            "id": file_id,
            "purpose": purpose,
            "filename": filename,
            "bytes": len(data),
            "created_at": now_s,
            "expires_at": None if expires_s is None else now_s + expires_s,
            "status": "processed",
            "status_details": None,
        }
        kept = KeptFile(value, data)
        self.shelf.put(world, file_id, kept, weight_bytes=len(data))
        return value

    def read(self, world: str, file_id: str) -> KeptFile | None:
        """
        Return a file, if it is kept.
        """
        return self.shelf.get(world, file_id)

    def _upload(self, call: Call) -> Value:
        form = parse_form(
            call.request.body, call.request.headers.get("content-type", "")
        )
        for name in ("file", "purpose"):
            if name not in form:
                raise missing(name)
        purpose = form["purpose"].text
        Text(words=_PURPOSES).check(purpose, "purpose")
        return self.write(
            call.world.name,
            form["file"].data,
            filename=form["file"].filename or "file",
            purpose=purpose,
            now_s=call.now_s,
            expires_s=_expiry(form),
        )

    def _list(self, call: Call) -> Value:
        query = call.request.query
        kept = [
            file
            for file in self.shelf.of(call.world.name)
            if query.get("purpose") in {None, file.value["purpose"]}
        ]
        return page_of(
            kept,
            query,
            show=lambda file: file.value,
            limit=LIST_MAX,
            limit_max=LIST_MAX,
        )

    def _get(self, call: Call) -> Value:
        return self._find_file(call).value

    def _delete(self, call: Call) -> Value:
        file_id = self._find_file(call).value["id"]
        self.shelf.pop(call.world.name, file_id)
        return {"object": "file", "id": file_id, "deleted": True}

    def _content(self, call: Call) -> Value:
        file = self._find_file(call)
        filename = str(file.value["filename"]).encode("ascii", "replace").decode()
        quoted = "".join(c for c in filename if c.isprintable() and c not in '"\\')
        disposition = ("content-disposition", f'attachment; filename="{quoted}"')
        return Content(data=file.data, headers=(disposition,))

    def _find_file(self, call: Call) -> KeptFile:
        file = self.read(call.world.name, call.ids["id"])
        if file is None:
            raise no_such_file(call.ids["id"])
        return file


def no_such_file(file_id: str) -> ApiError:
    """
    Return the error of a file that is not kept, or no longer.
    """
    return ApiError(f"No such File object: {file_id}", status=404, param="id")


def _expiry(form: Mapping[str, FormPart]) -> int | None:
    """
    Return after how many seconds a file is said to expire.
    """
    part = form.get("expires_after[seconds]")
    if part is None:
        return None
    text = part.text
    is_number = text.isascii() and text.isdecimal() and len(text) <= len("2592000")
    if not is_number or not _EXPIRES_MIN_S <= int(text) <= _EXPIRES_MAX_S:
        message = (
            f"Invalid 'expires_after.seconds': expected a value between "
            f"{_EXPIRES_MIN_S} and {_EXPIRES_MAX_S}."
        )
        raise ApiError(message, param="expires_after.seconds")
    return int(text)
