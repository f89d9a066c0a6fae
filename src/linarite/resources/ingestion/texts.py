"""Texts from outside, as both databases take them."""


def storable(text: str) -> str:
    """`text` without what a database refuses: NUL, and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
