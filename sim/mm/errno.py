"""How a system call is refused: the value of an operation that the kernel did not do.

A refused operation has changed nothing, unless its record says what it leaves. Addresses and lengths are in
whole pages, so what the kernel refuses as unaligned cannot be asked for.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

USER_PAGES: Final = 1 << 35
"""Pages of user memory: 47 bits of address (TASK_SIZE, less its guard page).

Tables of five levels have more, for programs that ask for such an address (DEFAULT_MAP_WINDOW); none does.
"""


class Errno(Enum):
    """The kernel's own names and their meaning (include/uapi/asm-generic/errno-base.h)."""

    EACCES = "permission denied"
    EAGAIN = "try again"
    EBADF = "no such open file"
    EBUSY = "device or resource busy"
    EEXIST = "something is mapped there"
    EFAULT = "bad address"
    EINVAL = "invalid argument"
    EISDIR = "is a directory"
    ENOENT = "nothing of that kind is there"
    ENODEV = "no such device"
    ENOMEM = "cannot allocate memory, or nothing is mapped there"
    ENOSPC = "no space left"
    ENOTDIR = "not a directory"
    EPROTO = "protocol error"

    def __str__(self) -> str:
        return f"{self.name} ({self.value})"


def beyond_user_memory(at: int, pages: int) -> bool:
    """Whether [*at*, *at* + *pages*) reaches out of user memory."""
    return at < 0 or pages < 0 or at + pages > USER_PAGES
