"""mmap (mm/mmap.c do_mmap and mm/vma.c __mmap_region, 6.13)."""

from __future__ import annotations

from dataclasses import replace

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import accounted
from sim.designs.linux.fault import populate
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import link_new, merge_new_range, read_around
from sim.designs.linux.munmap import unmap_locked
from sim.designs.linux.page_cache import Inode
from sim.designs.linux.vma import Area, Reservation, Vma, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    SYSCALL,
    Errno,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    OutOfMemory,
    beyond_user_memory,
)

Asked = Mmap | MmapShared | MmapFile | MmapHuge | MmapExmap


def mmap(mm: LinuxMm, cpu: Cpu, asked: Asked) -> Steps[int | Errno]:
    """mmap(2), of whatever kind of memory. Value: the first page."""
    if isinstance(asked, MmapHuge):
        asked = replace(asked, pages=-(-asked.pages // SLOTS) * SLOTS)
    pages = asked.pages
    mm.machine.entry.syscall(cpu, SYSCALL)
    if pages <= 0 or (isinstance(asked, MmapFile) and asked.offset < 0):
        return Errno.EINVAL
    cpu.work(mm.cost.mmap_enter, SYSCALL)
    yield from mm.write_lock_to_map(cpu, asked.at, pages)
    start = yield from _place(mm, cpu, asked)
    reservation: Reservation | Errno | None = None
    if isinstance(asked, MmapHuge) and not isinstance(start, Errno):
        reservation = yield from mm.kernel.hugetlb.reserve(cpu, start, pages)
        if isinstance(reservation, Errno):
            start = reservation
    if not isinstance(start, Errno):
        cpu.work(mm.cost.mmap_region, VMA_WORK)
        area, pgoff = _area(mm, cpu, asked, start)
        yield from mm.stat.may_expand_vm(cpu, area)
        is_accounted = VmFlags.ACCOUNT in area.flags
        if is_accounted:
            yield from mm.kernel.committed.add(cpu, pages)
        elif isinstance(asked, MmapShared) and asked.reserve:
            yield from _unnamed_memory(area).reserve(cpu)
        mapped = yield from _map_region(mm, cpu, start, start + pages, area, pgoff)
        if isinstance(reservation, Reservation):
            yield from mm.kernel.hugetlb.hand_over(cpu, reservation, mapped)
        if isinstance(mapped, Errno):
            start = mapped
            if is_accounted:
                yield from mm.kernel.committed.add(cpu, -pages)
            elif isinstance(asked, MmapShared):
                yield from _unnamed_memory(area).unreserve(cpu)
        else:
            mm.perf_event_mmap(cpu)
            yield from mm.stat.vm_stat_account(cpu, area, pages)
    yield from mm.write_unlock(cpu)
    if asked.populate and not isinstance(start, Errno):
        yield from populate(mm, cpu, start, pages)
    return start


def _area(mm: LinuxMm, cpu: Cpu, asked: Asked, start: int) -> tuple[Area, int]:
    """What is mapped, and the offset of its first page. Shared anonymous memory is a file without a name."""
    if isinstance(asked, Mmap):
        return accounted(mm.placed(cpu, Area(asked.rights)), reserve=asked.reserve), start
    if isinstance(asked, MmapHuge):
        return Area(asked.rights, flags=VmFlags.HUGETLB), start
    if isinstance(asked, MmapFile):
        area = mm.placed(cpu, Area(asked.rights, asked.file, asked.shared))
        return accounted(area, reserve=asked.reserve), asked.offset
    if isinstance(asked, MmapExmap):
        return Area(asked.rights, shared=True, flags=VmFlags.EXMAP), 0
    unnamed = mm.kernel.page_cache.create(cpu, "shared memory", asked.pages, kept=False)
    area = mm.placed(cpu, Area(asked.rights, unnamed, shared=True))
    return accounted(area, reserve=asked.reserve), 0


def _unnamed_memory(area: Area) -> Inode:
    """The file that stands for shared anonymous memory."""
    assert isinstance(area.file, Inode)
    return area.file


def _place(mm: LinuxMm, cpu: Cpu, asked: Asked) -> Steps[int | Errno]:
    """Limits, __get_unmapped_area, and what MAP_FIXED replaces. Value: the first page of the new mapping."""
    pages, limits = asked.pages, mm.kernel.spec.limits
    count = yield from mm.stat.read_map_count(cpu)
    if count > limits.max_map_count or pages > mm.kernel.total_pages:  # __vm_enough_memory
        return Errno.ENOMEM
    if isinstance(asked, MmapHuge):
        if asked.at is None:
            return (yield from _aligned_area(mm, cpu, pages))
        if asked.at % SLOTS:
            return Errno.EINVAL
    if asked.at is None:
        return (yield from unmapped_area(mm, cpu, pages, anonymous=isinstance(asked, Mmap)))
    if beyond_user_memory(asked.at, pages):
        return Errno.ENOMEM
    if mm.tree.overlapping(asked.at, asked.at + pages):
        if not asked.replace:
            yield from mm.tree.find(cpu, asked.at)
            return Errno.EEXIST
        # Replaced under the write lock, without a downgrade.
        refused = yield from unmap_locked(mm, cpu, asked.at, pages)
        if refused is not None:
            return refused
    if mm.recycler is not None:
        yield from mm.recycler.map_again(cpu, asked.at, asked.at + pages)
    return asked.at


def unmapped_area(mm: LinuxMm, cpu: Cpu, pages: int, *, anonymous: bool) -> Steps[int | Errno]:
    """__get_unmapped_area, of *anonymous* private memory or of other. Value: the first page.

    Where a huge page may begin with a private anonymous mapping (`thp_align`), room is looked for with 2 MiB
    to spare and the mapping put to the next multiple of 2 MiB in it (__thp_get_unmapped_area). Top-down, room
    that begins at one is used from its end: so a mapping still meets the one above, and merges with it.
    """
    align = mm.switches.thp_align
    fits = align == "always" or (align == "multiple" and pages % SLOTS == 0)
    if anonymous and pages >= SLOTS and fits:
        room = yield from _room(mm, cpu, pages + SLOTS)
        if room is not None:
            return room + (-room % SLOTS or (SLOTS if mm.locks.grows_down else 0))
    found = yield from _room(mm, cpu, pages)
    return Errno.ENOMEM if found is None else found


def _aligned_area(mm: LinuxMm, cpu: Cpu, pages: int) -> Steps[int | Errno]:
    """hugetlb_get_unmapped_area: the first place found that begins at a multiple of 2 MiB."""
    room = yield from _room(mm, cpu, pages + SLOTS - 1)
    if room is None:
        return Errno.ENOMEM
    return room + SLOTS - 1 - (room + SLOTS - 1) % SLOTS if mm.locks.grows_down else room + -room % SLOTS


def _room(mm: LinuxMm, cpu: Cpu, pages: int) -> Steps[int | None]:
    """vm_unmapped_area. Stacks keep a gap: so the VMAs on both sides are looked at."""
    find = mm.locks if mm.recycler is None else mm.recycler
    found = yield from find.find_room(cpu, pages)
    if found is not None:
        yield from read_around(mm, cpu, found)
    return found


def _map_region(mm: LinuxMm, cpu: Cpu, start: int, end: int, area: Area, pgoff: int) -> Steps[Vma | Errno]:
    """vma_merge_new_range, or a new VMA (__mmap_new_vma), which is refused where there is no page for it.

    Value: the VMA that has it.
    """
    yield from mm.tree.find_place(cpu, start)
    yield from read_around(mm, cpu, start)
    before, after = mm.tree.neighbours(start, end)
    merged = yield from merge_new_range(mm, cpu, start, end, area, before, after, pgoff=pgoff)
    if merged is None:
        try:
            merged = yield from mm.new_vma(cpu, start, end, area, pgoff=pgoff)
            yield from link_new(mm, cpu, merged)
        except OutOfMemory:
            return Errno.ENOMEM
    return merged
