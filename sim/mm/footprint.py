"""What a kernel's memory management itself has of memory, counted as it takes and gives it back.

    page_table   the tables of all processes, roots included, until their frames are free
    metadata     what is kept for each entry beside the tables
    vma          VMAs or mappings, their locks, the nodes of their index, anon_vmas and links
    frames       a descriptor for each frame of the machine, whatever it holds

Bytes are those that were asked for: of objects in slabs their size, not their slab's.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

Structure: TypeAlias = Literal["page_table", "metadata", "vma"]
STRUCTURES: Final[tuple[Structure, ...]] = get_args(Structure)


class Footprint:
    """*now* is what each structure has, *peak* the most that it ever had, in bytes; *frame_descriptors* are
    there from boot on."""

    __slots__ = ("frame_descriptors", "now", "peak")

    def __init__(self, frame_descriptors: int) -> None:
        self.frame_descriptors = frame_descriptors
        self.now: dict[Structure, int] = dict.fromkeys(STRUCTURES, 0)
        self.peak: dict[Structure, int] = dict.fromkeys(STRUCTURES, 0)

    def add(self, structure: Structure, size: int) -> None:
        """*structure* takes *size* bytes more, or gives them back where that is negative."""
        size += self.now[structure]
        self.now[structure] = size
        if size > self.peak[structure]:
            self.peak[structure] = size
