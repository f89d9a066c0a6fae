import base64
import hashlib

import pytest

from linarite.errors import InvalidPayload
from linarite.resources.uploads.assembly import check_md5, md5_in, ordered_parts
from linarite.resources.uploads.repository import PartRecord, UploadRecord
from linarite.wire.files import Purpose
from linarite.wire.uploads import UploadStatus

PARTS = [PartRecord(f"part-{n}", "up", f"block-{n}", f"key-{n}", n, 0) for n in (1, 2, 3)]


def upload(size: int) -> UploadRecord:
    return UploadRecord(
        "up", "r", Purpose.ASSISTANTS, "f", "text/plain", size, UploadStatus.PENDING, 0, 9
    )


def test_parts_come_in_the_order_of_their_names_by_either_id():
    parts = ordered_parts(upload(6), ["block-3", "part-1", "block-2"], PARTS)

    assert [part.bytes for part in parts] == [3, 1, 2]


def test_parts_that_are_not_named_are_left_out():
    assert ordered_parts(upload(2), ["part-2"], PARTS) == [PARTS[1]]


def test_a_file_of_nothing_needs_no_part():
    assert ordered_parts(upload(0), [], PARTS) == []


@pytest.mark.parametrize(
    ("part_ids", "refusal"),
    [
        (["part-1", "part-9"], "names 'part-9', which the upload has no part for"),
        (["part-1", "part-1"], "names the part 'part-1' twice"),
        (["part-1", "block-1"], "names the part 'part-1' twice"),
        (["part-1", "part-2"], "The parts have 3 bytes together, but the upload was started for 6"),
        ([], "The parts have 0 bytes together"),
    ],
)
def test_parts_that_do_not_make_the_file_are_refused(part_ids, refusal):
    with pytest.raises(InvalidPayload, match=refusal):
        ordered_parts(upload(6), part_ids, PARTS)


@pytest.mark.parametrize("form", ["hex", "upper", "base64"])
def test_an_md5_is_hex_or_base64(form):
    digest = hashlib.md5(b"hello").digest()
    text = {
        "hex": digest.hex(),
        "upper": digest.hex().upper(),
        "base64": base64.b64encode(digest).decode(),
    }[form]

    check_md5(md5_in(text), [b"hel", b"lo"])
    with pytest.raises(InvalidPayload, match=r"The MD5 of the parts is .*, but `md5` says"):
        check_md5(md5_in(text), [b"hel"])


@pytest.mark.parametrize("text", ["", "x", "abcd", "=" * 24, "0" * 31, "0" * 33, "ü" * 32])
def test_what_is_no_md5_is_refused(text):
    with pytest.raises(InvalidPayload, match="must be 32 hex digits"):
        md5_in(text)
