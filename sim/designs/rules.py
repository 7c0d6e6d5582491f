"""What a kernel may do in one way or another, and user code can tell: the facts that a checker asks of it.

They say nothing of how it is done: they are what its documentation would say of answers, and of what is
counted. A design says its own in `Kernel.rules`; one that says nothing is believed to be as `Rules()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """The facts, each with the value that asks least of a design."""

    tells_fills: bool = False
    """It tells when it zeroes a frame or copies one into another (`frame_filled`), so that contents
    can be followed; else what a fault brings in is believed to be right."""
    knows_flags: bool = False
    """mmap and munmap know what else may be said of a range: rights, MAP_POPULATE, MAP_FIXED_NOREPLACE, a
    range that makes no sense. Else nobody asks for more than readable and writable memory, somewhere."""
    zero_page: bool = False
    """A read of untouched memory maps the one page of zeros, not a page of its own."""
    holes_end_mprotect: bool = False
    """mprotect ends at a hole, with an error; else holes are passed over."""
    frees_tables: bool = False
    """A table goes with the last mapping in what it covers."""
    leaves_tables: bool = False
    """A table that other processes have, too, may go with the contents that madvise throws away."""
    kernel_dirties: bool | None = None
    """A page that is faulted in for writing is dirty before user code has written to it; None: either."""
    dirty_bits: bool = True
    """What is present says whether it was written; else nobody needs to know, and bits go with entries."""
    alike: bool = False
    """There are no VMAs: one mapping is what is alike, page after page."""
    area: tuple[int, int] | None = None
    bottom_up: bool = False
    """A mapping without an address gets the highest gap in here that fits; None: any free place."""
    swaps: bool = False
    """Anonymous pages may be swapped out at any time, by what the kernel has as `swap`."""
    memory: int | None = None
    """More pages than this in one mapping are refused."""
    max_map_count: int | None = None
    heap_gap: int = 1
    """Pages that stay free between the heap and what is mapped above it."""
    fork_copies_files: bool = False
    """A child has the pages of files and shared memory that its parent has, else it finds them itself."""
    eager: bool = False
    """There is no demand paging: mmap brings in all of a mapping, whether it may be used or not."""
    whole_frames: bool = False
    """Each 2 MiB that a mapping has from such a border on are one frame, and no call may cut that."""
    piecewise: bool = False
    """An mmap maps page after page: if another thread is in the way of one, a part of it has been seen."""
    replaces: bool = True
    """mmap at an address takes away what is mapped there; else it is refused (`EEXIST`)."""
    populates: bool = True
    """MAP_POPULATE is known."""
    unknown_advice: Sequence[str] = ()
    """What madvise is refused for."""
    cuts_private: bool = True
    """A private mapping of a file loses what lies behind the end, and has a signal there; else it keeps what
    it has, and finds zeros."""
    writes_fault: bool = False
    """A page of shared memory that was only read is not to be written without a fault."""
    around: int = 0
    """A read of a file's page brings in all of so many about it, of the mapping and the file, as far as
    nothing is there."""
    maps_twice: bool = True
    """mremap of no pages of shared memory maps it once more."""
    madvises_itself: bool = True
    """A process may ask process_madvise for what madvise does."""
    levels: int = 4
    """Levels of tables, the root's included."""
    pool: int = 0
    """Huge pages that are set aside for MAP_HUGETLB."""
    huge: bool = False
    """A touch of untouched memory may bring in the 2 MiB around it; which tables and entries there are then
    follows from where VMAs end."""
