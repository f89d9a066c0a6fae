"""Which parts make the file, in which order, and whether they are what was announced."""

import base64
import binascii
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from linarite.errors import InvalidPayload
from linarite.resources.uploads.repository import PartRecord, UploadRecord

_SHOWN = 5


def ordered_parts(
    upload: UploadRecord, part_ids: Sequence[str], stored: Sequence[PartRecord]
) -> list[PartRecord]:
    """The parts that `part_ids` names, each by its id or by its block id, in that order.

    Raises:
        InvalidPayload: one is unknown or named twice, or their bytes are not as many as announced.
    """
    by_name = {part.id: part for part in stored} | {part.block_id: part for part in stored}
    unknown = [part_id for part_id in part_ids if part_id not in by_name]
    if unknown:
        shown = ", ".join(repr(part_id[:60]) for part_id in unknown[:_SHOWN])
        raise InvalidPayload(
            f"`part_ids` names {shown}, which the upload has no part for.", target="$.part_ids"
        )
    parts = [by_name[part_id] for part_id in part_ids]
    named = Counter(part.id for part in parts)
    if named and named.most_common(1)[0][1] > 1:
        raise InvalidPayload(
            f"`part_ids` names the part {named.most_common(1)[0][0]!r} twice (a part is named by "
            "its id or by its block id).",
            target="$.part_ids",
        )
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        raise InvalidPayload(
            f"The parts have {size} bytes together, but the upload was started for "
            f"{upload.bytes} bytes.",
            target="$.part_ids",
        )
    return parts


def md5_in(text: str) -> bytes:
    """The MD5 that a caller gave in hex or in base64; raises InvalidPayload when it is none."""
    if re.fullmatch("[0-9A-Fa-f]{32}", text):
        return bytes.fromhex(text)
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise InvalidPayload("`md5` must be 32 hex digits, or base64 of 16 bytes.", target="$.md5")
    return digest


def check_md5(wanted: bytes, pieces: Iterable[bytes]) -> None:
    """Raise InvalidPayload unless the MD5 of all `pieces` is `wanted`."""
    found = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    if found.digest() != wanted:
        raise InvalidPayload(
            f"The MD5 of the parts is {found.hexdigest()}, but `md5` says {wanted.hex()}.",
            target="$.md5",
        )
