"""Forms that are none, and files beyond their limits, over HTTP; nothing of them stays behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.campaign import Campaign
from tests.support.server import running_server

BOUNDARY = "b" * 20
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
LIMIT = 200_000


def part(name: str, content: bytes, named: str = "", head: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"{named}\r\n{head}\r\n'
    return f"--{BOUNDARY}\r\n{disposition}".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


TYPE = "Content-Type: application/octet-stream\r\n"
NAMED = '; filename="a.jsonl"'
LINE = b'{"custom_id": "1"}\n'
PURPOSE = part("purpose", b"assistants")
FILE, DATA = part("file", LINE, NAMED, TYPE), part("data", LINE, NAMED, TYPE)

MALFORMED = {
    "nothing": b"",
    "json": b'{"purpose": "batch"}',
    "another boundary": form(PURPOSE, FILE, DATA).replace(b"bbbb", b"cccc"),
    "no parts": form(),
    "no file": form(PURPOSE),
    "no end": PURPOSE + FILE + DATA,
    "half a file": (PURPOSE + FILE + DATA)[:-30],
    "half a head": form(PURPOSE)[:-40],
    "file without a name": form(PURPOSE, part("file", LINE), part("data", LINE)),
    "two files": form(PURPOSE, FILE, FILE, DATA, DATA),
    "NUL in the purpose": form(FILE, DATA, part("purpose", b"batch\0")),
    "no UTF-8 in the purpose": form(FILE, DATA, part("purpose", b"\xff")),
    "NUL in the name": form(
        PURPOSE,
        *(part(name, LINE, '; filename="a\0.jsonl"', TYPE) for name in ("file", "data")),
    ),
    "endless field": form(PURPOSE, part("x", b"x" * 100_000), FILE, DATA),
    "endless head": form(PURPOSE, part("file", LINE, NAMED, "X: " + "y" * 10_000 + "\r\n")),
    "headers without end": form(PURPOSE, part("file", LINE, NAMED, "X: y\r\n" * 1_000)),
    "fields without end": form(*(part(f"f{number}", b"") for number in range(300)), FILE, DATA),
}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder: Path = tmp_path_factory.mktemp("forms")
    limits = {"file_bytes": LIMIT, "upload_part_bytes": LIMIT, "batch_file_bytes": LIMIT}
    with running_server(folder / "data", limits=limits) as server:
        one = Campaign(server)
        yield one
        one.close()


@pytest.fixture(scope="module")
def paths(campaign: Campaign) -> dict[str, str]:
    sent = {"purpose": "batch", "filename": "a.jsonl", "bytes": 10, "mime_type": "text/plain"}
    upload = campaign.send("POST", "/openai/uploads", json=sent).json()["id"]
    return {"Files_Upload": "/openai/files", "UploadFile_Part": f"/openai/uploads/{upload}/parts"}


@pytest.mark.parametrize("name", ["Files_Upload", "UploadFile_Part"])
@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_form_is_refused(
    campaign: Campaign, paths: dict[str, str], name: str, content: bytes
):
    answer = campaign.send("POST", paths[name], content=content, headers=FORM)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalidPayload"


@pytest.mark.parametrize("name", ["Files_Upload", "UploadFile_Part"])
@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"]
)
def test_what_is_no_form_is_not_taken(
    campaign: Campaign, paths: dict[str, str], name: str, content_type: str
):
    answer = campaign.send(
        "POST", paths[name], content=b"x" * 1000, headers={"content-type": content_type}
    )

    assert answer.status_code == 415


@pytest.mark.parametrize(("name", "field"), [("Files_Upload", "file"), ("UploadFile_Part", "data")])
@pytest.mark.parametrize("in_chunks", [False, True], ids=["announced", "in chunks"])
def test_a_file_beyond_its_limit_is_refused(
    campaign: Campaign, paths: dict[str, str], name: str, field: str, in_chunks: bool
):
    content = form(PURPOSE, part(field, b"x" * (LIMIT + 1), NAMED, TYPE))
    pieces = iter([content[:100_000], content[100_000:]])

    answer = campaign.send(
        "POST", paths[name], content=pieces if in_chunks else content, headers=FORM
    )

    assert answer.status_code == 413
    assert "bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "purpose", ["", "batch_output", "Batch", "nothing", "x" * 1000, "batch\r\nX: y", "💎"]
)
def test_a_purpose_that_is_none_is_refused(campaign: Campaign, purpose: str):
    answer = campaign.send(
        "POST", "/openai/files", content=form(FILE, part("purpose", purpose.encode())), headers=FORM
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Invalid value for purpose."


@pytest.mark.parametrize("name", ["", "..", "/", "a/../../b", "a.jsonl/", "\r\n", "x" * 3000])
def test_an_odd_file_name_is_refused_or_only_a_name(campaign: Campaign, name: str):
    file = part("file", LINE, f'; filename="{name}"', TYPE)

    answer = campaign.send("POST", "/openai/files", content=form(PURPOSE, file), headers=FORM)

    assert answer.status_code in {201, 400}
