"""What objects of one kind are called together: their name less what tells them apart.

L1 table 0x7f0000000000: PTL   ->   L1 table *: PTL
vm_lock of 0x1f40              ->   vm_lock of *
lruvec 1 lock                  ->   lruvec * lock
mmap_lock                      ->   mmap_lock
"""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|\d+)\b")


@lru_cache(maxsize=1 << 16)
def kind_of(name: str) -> str:
    """The kind of the lock or line *name*: numbers and addresses that stand alone are `*`."""
    return _NUMBER.sub("*", name)
