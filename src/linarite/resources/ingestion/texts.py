"""Texts from outside, as both databases take them."""

_LONGEST_REASON = 4000


def storable(text: str) -> str:
    """`text` without what a database refuses: NUL, and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def reason(text: str) -> str:
    """Why something failed, as it is kept: services that callers run may say much."""
    return storable(text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…")
