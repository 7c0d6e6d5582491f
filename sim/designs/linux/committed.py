"""vm_committed_as: the pages that processes may come to need (mm/util.c __vm_enough_memory, 6.13).

Who may write a private mapping may need a page for each of its own: mmap, brk and fork account them, munmap
and exit take them back (VM_ACCOUNT). Shared anonymous memory is accounted as a whole when it is made, a page
of a tmpfs file when it is. MAP_NORESERVE asks for none of it. One percpu_counter serves the machine; it is
only added to here: the heuristic policy (overcommit_memory 0) compares a request with all memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.percpu_counter import PercpuCounter, default_batch
from sim.designs.linux.vma import Area, VmFlags
from sim.mm import WRITE, Rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sim.designs.linux.page_cache import Inode
    from sim.designs.linux.vma import Vma
    from sim.hardware import Machine
    from sim.sync import QueueNodes


NOT_ACCOUNTED: Final = VmFlags.ACCOUNT | VmFlags.NORESERVE | VmFlags.HUGETLB
"""What does not become accounted: it is already, or never will be."""


def make_committed(machine: Machine, nodes: QueueNodes, pages: int, share: int | None) -> PercpuCounter:
    """The counter of a machine of so many *pages*; see `committed_batch`. All cpus have read its line."""
    line = machine.line("vm_committed_as")
    line.sharers = (1 << len(machine.cpus)) - 1
    batch = committed_batch(machine, pages, share)
    return PercpuCounter(machine, nodes, "vm_committed_as", line, batch, pointer=line)


def committed_batch(machine: Machine, pages: int, share: int | None) -> int:
    """mm_compute_batch (mm/mm_init.c): a cpu's part of all pages, divided by *share*; None: default."""
    least = default_batch(machine)
    return least if share is None else max(least, min(pages // machine.spec.cpus // share, (1 << 31) - 1))


def accounted(area: Area, *, reserve: bool = True) -> Area:
    """accountable_mapping (mm/vma.c): a new mapping of *area* as it is mapped."""
    if not reserve:
        return area.with_flags(area.flags | VmFlags.NORESERVE)
    if area.rights & WRITE and not area.shared:
        return area.with_flags(area.flags | VmFlags.ACCOUNT)
    return area


def with_other_rights(vma: Vma, rights: Rights) -> Area:
    """What a part of *vma* is with *rights*: private memory that could not be written and can be from now on
    is accounted (mprotect_fixup)."""
    after = vma.area.with_rights(rights)
    if not rights & WRITE or vma.rights & WRITE or after.shared or after.flags & NOT_ACCOUNTED:
        return after
    return accounted(after)


def accounted_pages(vmas: Iterable[Vma]) -> int:
    """How many pages of *vmas* are accounted (nr_accounted)."""
    return sum(vma.pages for vma in vmas if VmFlags.ACCOUNT in vma.area.flags)


def contradictions(committed: PercpuCounter, vmas: Iterable[Vma], inodes: Iterable[Inode]) -> Iterator[str]:
    """The counter is what all *vmas* and files account for."""
    again = accounted_pages(vmas) + sum(inode.committed for inode in inodes)
    if committed.sum() != again:
        yield f"vm_committed_as is {committed.sum()}, and {again} pages are accounted"
