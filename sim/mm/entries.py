"""What an entry of a page table says: a present page, or the status of a range that has none.

A present entry has a frame, rights and a size. The hardware sets *accessed* and *dirty* in it when a walk
loads its translation. Its rights are those of the mapping that the page belongs to, less what is taken away
for a time (a write to a copy-on-write page has to fault).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, TypeAlias

Rights: TypeAlias = int
"""What may be done with memory: a sum of `READ`, `WRITE` and `EXECUTE`, or `NOTHING`."""

ZERO_FRAME: Final = -2
"""The one page of zeros that a kernel maps wherever memory was read and never written. Nobody counts it."""

NOTHING: Final[Rights] = 0
READ: Final[Rights] = 1
WRITE: Final[Rights] = 2
EXECUTE: Final[Rights] = 4
READ_WRITE: Final[Rights] = READ | WRITE

_LETTERS: Final = {"r": READ, "w": WRITE, "x": EXECUTE}


def parse_rights(text: Any) -> Rights:
    """`'rw'` -> `READ | WRITE`; `none` is nothing. Raises `ValueError`."""
    if text == "none":
        return NOTHING
    if not isinstance(text, str) or not text or any(text.count(letter) > 1 for letter in text):
        raise ValueError("must be none, or letters of rwx, each once")
    if not set(text) <= set(_LETTERS):
        raise ValueError("must be none, or letters of rwx, each once")
    return sum(_LETTERS[letter] for letter in text)


def rights_text(rights: Rights) -> str:
    """`READ | WRITE` -> `'rw'`; nothing is `none`."""
    return "".join(letter for letter, right in _LETTERS.items() if rights & right) or "none"


@dataclass(slots=True, init=False)
class Present:
    """A present leaf entry: *frame* and *rights*, in a table of *level* (1: a page of 4 KiB).

    *copy_on_write*: the frame has other owners, or may have; a write copies it first.
    """

    frame: int
    rights: Rights
    level: int
    copy_on_write: bool
    accessed: bool = field(compare=False)
    dirty: bool = field(compare=False)

    def __init__(
        self,
        frame: int,
        rights: Rights,
        level: int = 1,
        copy_on_write: bool = False,
        accessed: bool = False,
        dirty: bool = False,
    ) -> None:
        self.frame = frame
        self.rights = rights
        self.level = level
        self.copy_on_write = copy_on_write
        self.accessed = accessed
        self.dirty = dirty

    @property
    def pages(self) -> int:
        """Pages of 4 KiB that it stands for."""
        return 1 << 9 * (self.level - 1)

    def frame_of(self, page: int) -> int:
        """The frame of *page*, one of those that it stands for; all zeros are in one."""
        return self.frame if self.level == 1 or self.frame < 0 else self.frame + page % self.pages

    def copied(self) -> Present:
        """Another entry that says the same."""
        return replace(self)

    def guarded(self) -> Present:
        """What it is where an entry above it forbids writes."""
        return Present(self.frame, self.rights & ~WRITE, self.level, self.copy_on_write)

    @property
    def special(self) -> bool:
        """Whether its frame has no descriptor (pte_special): nobody counts who maps it."""
        return self.frame < 0

    @property
    def writable(self) -> bool:
        """Whether the hardware lets a write through."""
        return bool(self.rights & WRITE) and not self.copy_on_write

    def allows(self, write: bool) -> bool:
        """Whether the hardware lets this access through."""
        return self.writable if write else bool(self.rights & READ)

    def with_rights(self, rights: Rights) -> Present:
        """The same page with other rights; the accessed and dirty bits stay (pte_modify)."""
        return replace(self, rights=rights)

    def __str__(self) -> str:
        cow = ", copy on write" if self.copy_on_write else ""
        return f"frame {self.frame} ({rights_text(self.rights)}{cow})"


class Kind(Enum):
    """What memory is, where nobody has touched it or its page is away (SOSP'25, section 4)."""

    PRIVATE_ANONYMOUS = "private anonymous memory"
    PRIVATE_FILE = "a private file mapping"
    SHARED_FILE = "a shared file mapping"
    SHARED_ANONYMOUS = "shared anonymous memory"
    SWAPPED = "swapped"


PRIVATE_ANONYMOUS: Final = Kind.PRIVATE_ANONYMOUS
SWAPPED: Final = Kind.SWAPPED


@dataclass(slots=True, init=False, unsafe_hash=True)
class Status:
    """An entry that is not present and says what its range is (CortenMM's metadata, SOSP'25, section 4).

    A fault on private anonymous memory brings in a zeroed page, on a file one of those that *backing* has.
    *slot* is where a page that is swapped out lies; such an entry stands for one page, so in a table of level
    1 only. Of *locked* memory what is in memory stays there, and with *on_fault* it is not brought in for
    that. Many slots share one: it is never changed. Raises `ValueError` for a swapped page without a slot,
    and for a slot of anything else.
    """

    rights: Rights
    kind: Kind
    slot: int | None
    backing: Any = field(repr=False)
    locked: bool
    on_fault: bool

    def __init__(
        self,
        rights: Rights,
        kind: Kind = PRIVATE_ANONYMOUS,
        slot: int | None = None,
        *,
        backing: Any = None,
        locked: bool = False,
        on_fault: bool = False,
    ) -> None:
        if (slot is not None) != (kind is SWAPPED):
            raise ValueError("a swapped page has a slot, and nothing else has")
        self.rights = rights
        self.kind = kind
        self.slot = slot
        self.backing = backing
        self.locked = locked
        self.on_fault = on_fault

    @property
    def shared(self) -> bool:
        """Whether a write is seen by all who map the same."""
        return self.kind is Kind.SHARED_FILE or self.kind is Kind.SHARED_ANONYMOUS

    def allows(self, write: bool) -> bool:
        """Whether a fault for this access may bring a page in."""
        return bool(self.rights & (WRITE if write else READ))

    def with_rights(self, rights: Rights) -> Status:
        """The same memory with other rights."""
        return replace(self, rights=rights)

    def __str__(self) -> str:
        where = "" if self.slot is None else f" to slot {self.slot}"
        return f"{self.kind.value}{where} ({rights_text(self.rights)})"
