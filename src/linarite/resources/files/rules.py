"""What a file may be called, how large it may be and how long it may live."""

from dataclasses import dataclass

from linarite.errors import InvalidPayload, PayloadTooLarge
from linarite.settings import LimitSettings
from linarite.wire.files import Purpose

_NAME_CHARACTERS = 1024
_JSONL = {
    Purpose.FINE_TUNE: "fileName contains an invalid filename: wrong suffix.",
    Purpose.BATCH: "Invalid file format for Batch API. Must be .jsonl",
}
"""Purposes whose files must be named ``*.jsonl``, with the sentences clients know."""


@dataclass(frozen=True)
class NewFile:
    """What a caller says about a file to be."""

    resource: str
    purpose: Purpose
    filename: str
    expires_after_seconds: int | None = None


def purpose_of(text: str | None, allowed: frozenset[Purpose]) -> Purpose:
    """The purpose that `text` names; raises InvalidPayload when it is none of `allowed`."""
    if text is None:
        raise InvalidPayload("`purpose` is required.", target="purpose")
    if text not in allowed:
        raise InvalidPayload("Invalid value for purpose.", target="purpose")
    return Purpose(text)


def check_name(purpose: Purpose, filename: str) -> None:
    """Raise InvalidPayload unless a file of this purpose may be called so."""
    if not filename.strip():
        raise InvalidPayload("The file has no name.", target="filename")
    if len(filename) > _NAME_CHARACTERS:
        raise InvalidPayload(
            f"The file name has {len(filename)} characters; it may have {_NAME_CHARACTERS}.",
            target="filename",
        )
    if purpose in _JSONL and not filename.lower().endswith(".jsonl"):
        raise InvalidPayload(_JSONL[purpose], target="filename")


def size_limit(limits: LimitSettings, purpose: Purpose | None) -> int:
    """The most bytes a file of this purpose may have; of any purpose when it is not known yet."""
    if purpose is None:
        return max(limits.file_bytes, limits.batch_file_bytes)
    return limits.batch_file_bytes if purpose == Purpose.BATCH else limits.file_bytes


def kind_of(purpose: Purpose | None) -> str:
    """What to call such a file in a sentence."""
    return f"a file with purpose {purpose}" if purpose else "a file"


def too_large(kind: str, limit: int) -> PayloadTooLarge:
    """The refusal of more bytes than `limit`."""
    return PayloadTooLarge(f"This is too large: {kind} may have {limit} bytes.")


def check_size(limits: LimitSettings, purpose: Purpose, size: int) -> None:
    """Raise PayloadTooLarge when `size` bytes are too many for a file of this purpose."""
    if size > (limit := size_limit(limits, purpose)):
        raise too_large(kind_of(purpose), limit)


def check_lifetime(limits: LimitSettings, seconds: int | None) -> None:
    """Raise InvalidPayload unless a file may expire after `seconds`."""
    least, most = limits.min_expires_after_seconds, limits.max_expires_after_seconds
    if seconds is not None and not least <= seconds <= most:
        raise InvalidPayload(
            f"`expires_after.seconds` is {seconds}; it must be between {least} and {most}.",
            target="expires_after.seconds",
        )


def lifetime_in(fields: dict[str, str]) -> int | None:
    """The seconds of `expires_after` in a form, which is spelled in two ways.

    Raises:
        InvalidPayload: only half of it is there, or it is not what it must be.
    """
    if "expires_after" in fields:
        raise InvalidPayload(
            "A form has `expires_after` as two fields: `expires_after[seconds]` and "
            "`expires_after[anchor]`.",
            target="expires_after",
        )
    seconds = fields.get("expires_after[seconds]", fields.get("expires_after.seconds"))
    anchor = fields.get("expires_after[anchor]", fields.get("expires_after.anchor"))
    if seconds is None and anchor is None:
        return None
    if anchor != "created_at":
        raise InvalidPayload(
            "`expires_after.anchor` must be created_at.", target="expires_after.anchor"
        )
    if seconds is None or not seconds.isascii() or not seconds.isdecimal() or len(seconds) > 12:
        raise InvalidPayload(
            "`expires_after.seconds` must be a number of seconds.", target="expires_after.seconds"
        )
    return int(seconds)
