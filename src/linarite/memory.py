"""What the allocator keeps of the memory that native code lets go of.

Lance works in many threads, with pieces of a few megabytes that soon go. Left alone, glibc gives
each thread an arena of its own and keeps what is freed there: after 100,000 chunks that are some
350 MB which nobody uses, and more with more chunks. Other allocators are left as they are.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""As `malloc.h` numbers them."""
_ARENAS = 2
_KEPT_BYTES = 16 << 20
_OWN_PAGES_BYTES = 256 << 10
"""A piece as long as this goes back as soon as it is freed."""


def spare() -> bool:
    """Have this process keep little of what is freed; False where its allocator is another."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    libc.mallopt(_ARENA_MAX, _ARENAS)
    libc.mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    return True


def give_back() -> None:
    """Let go of what is freed already."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
