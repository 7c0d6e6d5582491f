"""msync (mm/msync.c, 6.13.7): mmap_lock for reading, one VMA of the range after another.

There is nothing to write for anonymous memory, nor for a file that is in memory only (tmpfs: noop_fsync).
What can be told is whether all of it is mapped. Who waits for a shared file does so without mmap_lock.
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.page_cache import inode_of
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Msync


def msync(mm: LinuxMm, cpu: Cpu, asked: Msync) -> Steps[Errno | None]:
    """msync(2)."""
    page, end = asked.at, asked.at + asked.pages
    mm.machine.entry.syscall(cpu, SYSCALL)
    if end < page:
        return Errno.ENOMEM
    if end == page:
        return None
    refused: Errno | None = None  # a hole is told in the end, or at once where nothing is waited for
    yield from mm.mmap_lock.read_lock(cpu)
    while page < end:
        yield from mm.tree.find(cpu, page)
        vmas = mm.tree.overlapping(page, end)
        if not vmas or (page < vmas[0].start and not asked.wait and not asked.invalidate):
            refused = Errno.ENOMEM
            break
        vma = vmas[0]
        refused = Errno.ENOMEM if page < vma.start else refused
        yield from vma.line.read(cpu, VMA_WORK)
        if asked.invalidate and vma.locked:
            refused = Errno.EBUSY
            break
        page = vma.end
        if asked.wait and vma.area.file is not None and vma.area.shared:
            inode = inode_of(vma)
            yield from inode.count_users(cpu)  # get_file
            yield from mm.mmap_lock.read_unlock(cpu)
            yield from inode.count_users(cpu)  # vfs_fsync_range has nothing to do; fput
            if page >= end:
                return refused
            yield from mm.mmap_lock.read_lock(cpu)
    yield from mm.mmap_lock.read_unlock(cpu)
    return refused
