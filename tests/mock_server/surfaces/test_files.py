"""
Files are kept byte for byte, and no more of them than allowed.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server import Limits, MockOptions
from mock_server.wire import ApiError
from mock_server.wire.multipart import PARTS_MAX, parse_form

Serve = Callable[..., AbstractAsyncContextManager[Any]]
sockets = pytest.mark.sockets
FORM = "multipart/form-data; boundary=edge"


def form(data: bytes, *, purpose: str = "batch", filename: str = "a.jsonl") -> bytes:
    """
    Return the body of an upload.
    """
    head = (
        '--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
        f"{purpose}\r\n--edge\r\nContent-Disposition: form-data; "
        f'name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
    )
    return head.encode() + data + b"\r\n--edge--\r\n"


@given(data=st.binary().filter(lambda data: b"\r\n--edge" not in data))
def test_form_data_is_kept_byte_for_byte(data: bytes) -> None:
    """
    Whatever stands between the boundaries is the file.
    """
    parts = parse_form(form(data), FORM)

    assert parts["file"].data == data
    assert parts["file"].filename == "a.jsonl"
    assert parts["purpose"].text == "batch"


@given(body=st.binary(), content_type=st.text())
def test_garbage_is_refused(body: bytes, content_type: str) -> None:
    """
    Garbage is no form, and nothing but the API's error comes of it.
    """
    for kind in (content_type, FORM):
        with pytest.raises(ApiError):
            parse_form(body, kind)


def test_a_form_has_a_bounded_number_of_fields() -> None:
    """
    One field more than allowed is refused.
    """
    field = b'--edge\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'

    assert parse_form(field * PARTS_MAX + b"--edge--", FORM)["f"].data == b"x"
    with pytest.raises(ApiError):
        parse_form(field * (PARTS_MAX + 1) + b"--edge--", FORM)


@sockets
async def test_uploaded_listed_read_and_deleted(serve: Serve) -> None:
    """
    A file is what was uploaded until it is deleted.
    """
    data = bytes(range(256)) + b"\r\n\r\n"
    async with serve() as served:
        files = served.client.files
        file = await files.create(file=("b.bin", data), purpose="user_data")
        batch = await files.create(
            file=("c.jsonl", b"{}"),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        content = await files.content(file.id)
        found = await files.retrieve(file.id)
        listed = [item.id async for item in files.list()]
        batches = [item.id async for item in files.list(purpose="batch")]
        deleted = await files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            await files.content(file.id)

    assert content.content == data
    assert found == file
    assert (file.bytes, file.filename, file.status) == (260, "b.bin", "processed")
    assert batch.expires_at == batch.created_at + 3600
    assert listed == [batch.id, file.id]
    assert batches == [batch.id]
    assert deleted.deleted


@sockets
async def test_the_same_file_twice_is_two_files(serve: Serve) -> None:
    """
    Two uploads of the same bytes have an id each.
    """
    async with serve() as served:
        ids = {
            (await served.client.files.create(file=b"x", purpose="batch")).id
            for _ in range(3)
        }

    assert len(ids) == 3


@sockets
async def test_no_more_is_kept_than_allowed(serve: Serve) -> None:
    """
    The oldest files make room, for their number and for their size.
    """
    options = MockOptions(port=0, limits=Limits(files_max=3, file_bytes_max=100))
    async with serve(options=options) as served:
        create = served.client.files.create
        small = [(await create(file=b"%d" % n, purpose="batch")).id for n in range(5)]
        kept = [item.id async for item in served.client.files.list(order="asc")]
        large = await create(file=b"x" * 99, purpose="batch")
        left = [item.id async for item in served.client.files.list(order="asc")]
        health = (await served.mock.send("GET", "/_mock/health")).json

    assert kept == small[2:]
    assert left == [small[4], large.id]
    assert health["dropped"]["files_max"] == 4


@sockets
@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"{}", "application/json", "Invalid Content-Type header."),
        (b"", FORM, "Could not parse multipart form."),
        (form(b"x", purpose="fun"), FORM, "Invalid value: 'fun'."),
        (form(b"x").replace(b"purpose", b"porpoise"), FORM, "Missing required"),
        (form(b"x").replace(b'"file"', b'"pile"'), FORM, "Missing required"),
        (form(b"x")[:-6], FORM, "Could not parse multipart form."),
    ],
)
async def test_bad_uploads(
    serve: Serve, body: bytes, content_type: str, message: str
) -> None:
    """
    What is no upload is refused.
    """
    async with serve() as served:
        answer = await served.mock.send(
            "POST",
            "/v1/files",
            body,
            headers={"authorization": "Bearer sk-1", "content-type": content_type},
        )

    assert answer.status == 400
    assert answer.json["error"]["message"].startswith(message)


@sockets
async def test_names_do_not_break_headers(serve: Serve) -> None:
    """
    A name with quotes, other letters or controls stays within its header.
    """
    body = form(b"x", filename='a\\"; evil=\tb" Zürich.txt')
    async with serve() as served:
        auth = {"authorization": "Bearer sk-1"}
        uploaded = await served.mock.send(
            "POST", "/v1/files", body, headers={**auth, "content-type": FORM}
        )
        path = f"/v1/files/{uploaded.json['id']}/content"
        answer = await served.mock.send("GET", path, headers=auth)

    assert answer.status == 200
    assert answer.headers["content-disposition"].count('"') == 2
    assert answer.body == b"x"
