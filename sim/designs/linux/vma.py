"""VMAs (include/linux/mm_types.h, 6.13)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import TYPE_CHECKING

from sim.designs.linux.slab import Lines, SlabObject
from sim.designs.linux.vma_locks import VmaLock
from sim.hardware import CacheLine
from sim.mm import SLOTS, File, Rights, rights_text

if TYPE_CHECKING:
    from sim.designs.linux.morsel import Morsel


class AnonVma:
    """An anon_vma: the root rwsem and interval tree that the VMAs of a split mapping share, in *memory*.

    *vmas* are those in its tree: pages that it made may lie in them. The last one that leaves frees it.
    """

    __slots__ = ("memory", "vmas")

    def __init__(self, memory: SlabObject) -> None:
        self.memory = memory
        self.vmas: dict[Vma, None] = {}

    @property
    def line(self) -> Lines:
        """The lines of the rwsem, the reference count and the root of the tree."""
        return self.memory.whole

    @property
    def rwsem(self) -> CacheLine:
        """The line of the rwsem's count, behind the pointer to the root."""
        return self.memory.line(8)


class VmFlags(Flag):
    """What a VMA's vm_flags say beside its rights (include/linux/mm.h)."""

    NONE = 0
    LOCKED = auto()
    """Its pages stay in memory (mlock)."""
    LOCKONFAULT = auto()
    """With LOCKED: but nobody has brought them in."""
    HUGEPAGE = auto()
    """Huge pages are welcome (MADV_HUGEPAGE)."""
    NOHUGEPAGE = auto()
    """They are not (MADV_NOHUGEPAGE)."""
    ACCOUNT = auto()
    """Its pages are in vm_committed_as."""
    NORESERVE = auto()
    """They never are (MAP_NORESERVE)."""
    HUGETLB = auto()
    """It has huge pages of the pool, and no others (MAP_HUGETLB)."""
    UFFD_MISSING = auto()
    """Another thread brings in pages that are missing (userfaultfd)."""
    EXMAP = auto()
    """Its pages come and go by calls of a module (VM_MIXEDMAP, VM_DONTEXPAND, VM_DONTCOPY)."""
    MORSEL = auto()
    """It is all of a morsel, whose tables are not the process's."""


@dataclass(frozen=True, slots=True)
class Area:
    """What memory is and what may be done with it: ranges side by side that agree in all of it are one VMA.

    *rights* and *flags* are a VMA's vm_flags. *file* is what is mapped, None for anonymous memory; *shared*:
    a write is one to the file, and not to a copy. *node* is where its page tables belong, if each node has
    its own.
    """

    rights: Rights
    file: File | None = None
    shared: bool = False
    flags: VmFlags = VmFlags.NONE
    node: int = 0

    def __str__(self) -> str:
        what = "" if self.file is None else f" of {self.file}{', shared' if self.shared else ''}"
        flags = "".join(f", {str(flag.name).lower()}" for flag in self.flags)
        return rights_text(self.rights) + what + flags

    def with_rights(self, rights: Rights) -> Area:
        """The same memory with other rights."""
        return replace(self, rights=rights)

    def with_flags(self, flags: VmFlags) -> Area:
        """The same memory with other flags."""
        return replace(self, flags=flags)


class Reservation:
    """resv_map: the 2 MiB *blocks*, by their offset, that a mapping has reserved and no fault has taken yet.

    The parts of a mapping that has been cut share it.
    """

    __slots__ = ("blocks", "number")

    def __init__(self, number: int, blocks: range) -> None:
        self.number = number
        self.blocks = set(blocks)


class Vma:
    """A virtual memory area, [start, end) in pages, all of it the same *area*.

    *pgoff* is the first page's offset in its file; private anonymous memory counts from address 0 on, where
    it was mapped first. *memory* is the struct, *line* the part of it that look-ups read; *lock_memory* is
    its lock where that is an object of its own. *anon_vma* is its own, for the pages that it makes; *chain*
    has those in which its pages may lie, its own included: a forked VMA has its parents' too. *links* are the
    anon_vma_chain objects, one for each. *detached*: it has left the tree; a fault that has found it before
    that looks again. *moving*: mremap is about its entries, which a fault that holds nothing leaves alone.
    *reservation*: what it may still take of the pool of huge pages. *morsel*: whose tables an entry at its
    beginning refers to, as long as it does. *mm* is the process
    that it belongs to; one that is freed may come back as another's (`set_up`).
    """

    __slots__ = (
        "anon_vma",
        "area",
        "chain",
        "detached",
        "end",
        "line",
        "links",
        "lock",
        "lock_memory",
        "memory",
        "mm",
        "morsel",
        "moving",
        "pgoff",
        "reservation",
        "start",
    )

    def __init__(
        self,
        start: int,
        end: int,
        area: Area,
        memory: SlabObject,
        lock: VmaLock,
        mm: object = None,
        *,
        lock_memory: SlabObject | None = None,
        pgoff: int | None = None,
        like: Vma | None = None,
    ) -> None:
        self.memory = memory
        self.line = memory.head
        self.lock = lock
        self.lock_memory = lock_memory
        self.set_up(start, end, area, mm, pgoff=pgoff, like=like)

    def set_up(
        self,
        start: int,
        end: int,
        area: Area,
        mm: object,
        *,
        pgoff: int | None = None,
        like: Vma | None = None,
    ) -> None:
        """vma_init. *like* is a VMA whose anonymous pages this one shares (vm_area_dup, anon_vma_clone)."""
        self.start = start
        self.end = end
        self.area = area
        self.mm = mm
        self.pgoff = start if pgoff is None else pgoff
        self.links: list[SlabObject] = []
        self.anon_vma: AnonVma | None = like.anon_vma if like else None
        self.chain: tuple[AnonVma, ...] = like.chain if like else ()
        self.reservation: Reservation | None = like.reservation if like else None
        self.morsel: Morsel | None = None
        self.detached = False
        self.moving = False

    def __repr__(self) -> str:
        return f"VMA {self.start:#x}-{self.end:#x} {self.area}"

    @property
    def rights(self) -> Rights:
        """What may be done with it."""
        return self.area.rights

    @property
    def locked(self) -> bool:
        """Whether its pages stay in memory (VM_LOCKED)."""
        return VmFlags.LOCKED in self.area.flags

    @property
    def special(self) -> bool:
        """Whether the kernel brings no pages in and knows nothing of those that are there (VM_SPECIAL)."""
        return VmFlags.EXMAP in self.area.flags

    @property
    def merges(self) -> bool:
        """Whether it may become one with a neighbour that is alike."""
        return not (self.hugetlb or self.special or self.of_morsel)

    @property
    def hugetlb(self) -> bool:
        """Whether it has huge pages of the pool (is_vm_hugetlb_page)."""
        return VmFlags.HUGETLB in self.area.flags

    @property
    def of_morsel(self) -> bool:
        """Whether it is a morsel's, and no call but munmap of all of it may change it."""
        return VmFlags.MORSEL in self.area.flags

    def may_split(self, at: int) -> bool:
        """hugetlb_vm_op_split: no huge page of the pool is cut, and no morsel."""
        return not (self.hugetlb and at % SLOTS) and not self.of_morsel

    @property
    def pages(self) -> int:
        return self.end - self.start

    def reach(self, start: int, end: int) -> None:
        """vma_set_range: other ends, the same offset for each page."""
        self.pgoff += start - self.start
        self.start, self.end = start, end

    @property
    def has_anon_vma(self) -> bool:
        """Whether it has made pages of its own, or is about to (vma->anon_vma)."""
        return self.anon_vma is not None

    def adopt(self, anon_vma: AnonVma, link: SlabObject) -> None:
        """The pages that it gets from now on belong to *anon_vma*, which is new (__anon_vma_prepare, and
        anon_vma_fork, where the chain has those of the parent already)."""
        self.anon_vma = anon_vma
        self.chain = (*self.chain, anon_vma)
        self.links.append(link)
        anon_vma.vmas[self] = None

    def inherit(self, other: Vma) -> bool:
        """dup_anon_vma: it takes over pages of *other*. Value: whether *other* has an anon_vma and this one
        had none, so that it has to be linked to that."""
        if self.anon_vma is not None or other.anon_vma is None:
            return False
        self.anon_vma, self.chain = other.anon_vma, other.chain
        return True

    def joins(self, area: Area, pgoff: int, anon_vma: AnonVma | None) -> bool:
        """can_vma_merge_after: [end, ...) with page *pgoff* first could become a part of it."""
        fits = area == self.area and self.merges and pgoff == self.pgoff + self.pages
        return fits and self._shares(anon_vma)

    def is_joined_by(self, area: Area, pgoff: int, anon_vma: AnonVma | None) -> bool:
        """can_vma_merge_before: [..., start) whose end would be page *pgoff* could become a part of it."""
        fits = area == self.area and self.merges and pgoff == self.pgoff
        return fits and self._shares(anon_vma)

    def _shares(self, anon_vma: AnonVma | None) -> bool:
        """is_mergeable_anon_vma: never two different ones; one with pages of its parent takes no others."""
        if anon_vma is self.anon_vma:
            return True
        return (anon_vma is None or self.anon_vma is None) and len(self.chain) == 1


def may_share(one: Vma, other: Vma) -> bool:
    """is_mergeable_anon_vma where a new part joins two VMAs."""
    return one.anon_vma is None or other.anon_vma is None or one.anon_vma is other.anon_vma
