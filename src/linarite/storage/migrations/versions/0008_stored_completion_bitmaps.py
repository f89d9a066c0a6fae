"""Bitmaps of what many stored completions are found by, and changes that come to them later."""

import struct
import zlib
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BLOCK = 32_768
_SPAN = 256
_SPANS = _BLOCK // _SPAN
_SPARSE = _BLOCK // 32
_FEW = 500
_NEVER = (2**63 - 1, 1 - 2**63)


def upgrade() -> None:
    """Apply; marks that few bear need no bitmaps."""
    op.add_column("stored_completion_counts", sa.Column("recent", sa.LargeBinary(), nullable=True))
    bitmaps = op.create_table(
        "stored_completion_bitmaps",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.Column("times", sa.LargeBinary(), nullable=False),
        sa.Column("earliest", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mark", "block", name=op.f("pk_stored_completion_bitmaps")),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        # compressed as far as it can be, and read by the dozen: all in its row
        for column in ("bits", "times"):
            op.execute(
                f"ALTER TABLE stored_completion_bitmaps ALTER COLUMN {column} SET STORAGE PLAIN"
            )
    connection = op.get_bind()
    frequent = sa.text("SELECT mark FROM stored_completion_counts WHERE completions > :few")
    for mark in connection.execute(frequent, {"few": _FEW}).scalars().all():
        connection.execute(sa.insert(bitmaps), _blocks(connection, mark))
        empty = sa.text("UPDATE stored_completion_counts SET recent = :none WHERE mark = :mark")
        connection.execute(empty, {"none": b"", "mark": mark})


def _blocks(connection: sa.Connection, mark: bytes) -> list[dict[str, Any]]:
    """The rows of a mark, of all that bear it."""
    bits: dict[int, bytearray] = defaultdict(lambda: bytearray(_BLOCK // 8))
    times: dict[int, list[int]] = defaultdict(lambda: [*_NEVER] * _SPANS)
    labels = sa.text("SELECT completion, created FROM stored_completion_labels WHERE mark = :mark")
    options = {"yield_per": 10_000}
    for seq, created in connection.execute(labels, {"mark": mark}, execution_options=options):
        number, place = divmod(seq, _BLOCK)
        bits[number][place // 8] |= 1 << place % 8
        known, span = times[number], place // _SPAN * 2
        known[span] = min(known[span], created)
        known[span + 1] = max(known[span + 1], created)
    return [
        {"mark": mark, "block": number, **_packed(bits[number], times[number])} for number in bits
    ]


def _packed(bits: bytearray, times: list[int]) -> dict[str, Any]:
    is_sparse = int.from_bytes(bits, "little").bit_count() < _SPARSE
    return {
        "bits": zlib.compress(bits, 1) if is_sparse else bytes(bits),
        "times": zlib.compress(struct.pack(f"<{2 * _SPANS}q", *times), 1),
        "earliest": min(times[::2]),
        "latest": max(times[1::2]),
    }
