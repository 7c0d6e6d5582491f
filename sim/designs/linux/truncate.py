"""The size of a file (mm/shmem.c shmem_fallocate and shmem_setattr, mm/truncate.c; 6.13).

    i_rwsem  |-------------------------- write --------------------------|
    truncate   size | unmap | for each batch: lock pages, xa_lock, free | unmap

A fault that is under way holds the lock of its page. So it is done before the page leaves the cache, and the
second unmapping takes its entry away; one that gets the lock later finds that the file is shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.gather import tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.page_cache import Inode
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Fallocate, Ftruncate, OutOfMemory

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel


def fallocate(kernel: LinuxKernel, cpu: Cpu, asked: Fallocate) -> Steps[Errno | None]:
    """shmem_fallocate: one page after another; what was made goes again if memory runs out."""
    inode = asked.file
    assert isinstance(inode, Inode)
    kernel.machine.entry.syscall(cpu, SYSCALL)
    if asked.at < 0 or asked.pages <= 0:
        return Errno.EINVAL
    yield from inode.i_rwsem.write_lock(cpu)
    made: list[int] = []
    failed: Errno | None = None
    for index in range(asked.at, asked.at + asked.pages):
        try:
            frame, is_new = yield from inode.find_or_add(cpu, index)
        except OutOfMemory:
            failed = Errno.ENOSPC
            yield from inode.remove(cpu, made)
            break
        if is_new:
            made.append(index)
        yield from kernel.descriptors.unlock(cpu, frame)
        yield from kernel.put_page(cpu, frame)
    if failed is None:
        inode.pages = max(inode.pages, asked.at + asked.pages)
    yield from inode.i_rwsem.write_unlock(cpu)
    return failed


def ftruncate(kernel: LinuxKernel, cpu: Cpu, asked: Ftruncate) -> Steps[Errno | None]:
    """shmem_setattr: cut the file off, or make it longer by a hole."""
    inode = asked.file
    assert isinstance(inode, Inode)
    kernel.machine.entry.syscall(cpu, SYSCALL)
    if asked.pages < 0:
        return Errno.EINVAL
    yield from inode.i_rwsem.write_lock(cpu)
    shorter, inode.pages = asked.pages < inode.pages, asked.pages
    if shorter:
        yield from _unmap_behind(cpu, inode, asked.pages)
        yield from inode.remove(cpu, sorted(index for index in inode.frames if index >= asked.pages))
        yield from _unmap_behind(cpu, inode, asked.pages)
    yield from inode.i_rwsem.write_unlock(cpu)
    return None


def let_go(kernel: LinuxKernel, cpu: Cpu, inode: Inode) -> Steps[None]:
    """The last mapping of a file without a name is gone: shmem_evict_inode."""
    if not inode.kept and not inode.mapped_by:
        yield from inode.remove(cpu, sorted(inode.frames))
        yield from inode.unreserve(cpu)
        kernel.page_cache.evict(inode)


def _unmap_behind(cpu: Cpu, inode: Inode, pages: int) -> Steps[None]:
    """unmap_mapping_range: the entries behind page *pages* leave all mappings, private copies too."""
    yield from inode.i_mmap_rwsem.read_lock(cpu)
    for vma, mm in list(inode.mapped_by.items()):
        first = max(vma.start, vma.start + pages - vma.pgoff)
        if first < vma.end:
            gather = yield from tlb_gather_mmu(mm, cpu)
            yield from zap(mm, cpu, vma, first, vma.end, gather)
            yield from tlb_finish_mmu(mm, cpu, gather)
    yield from inode.i_mmap_rwsem.read_unlock(cpu)
