"""Inodes and their pages in memory: tmpfs and shared anonymous memory (mm/filemap.c, mm/shmem.c, 6.13).

    address_space   i_pages: an xarray of 64 pages a node, under xa_lock
                    i_mmap: the VMAs that map the file, under i_mmap_rwsem
    inode           blocks in use, under info->lock; size, under i_rwsem (`truncate`)

A look-up reads one node (the upper ones stay in every cache); a page that is added writes the node and the
counters. A page belongs to the cache as long as the file has it: the cache is one of its owners.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from sim.designs.linux.cached_pages import CachedPages
from sim.designs.linux.descriptors import LOCK_PAGE, PAGE_CACHE
from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, GuardedLine
from sim.mm import SLOTS, File, Reference, tell_filled
from sim.sync import RwSem, spin_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

LOCK_FILE: Final = Activity("lock: file")

_NODE_PAGES: Final = 64
"""Pages of one xarray node (XA_CHUNK_SIZE)."""


class Inode(File):
    """A file of tmpfs: its cached pages by index in *frames*, and the VMAs that map it in *mapped_by*.

    One that is not *kept* has no name and nobody has it open: it goes with the last mapping. *committed* of
    its pages are in vm_committed_as: those that it has, or all if they were reserved.
    """

    __slots__ = (
        "_kernel",
        "_nodes",
        "_reserved",
        "_tree_line",
        "blocks_line",
        "committed",
        "count_line",
        "frames",
        "i_mmap_rwsem",
        "i_rwsem",
        "info_lock",
        "kept",
        "mapped_by",
        "pages_line",
        "xa_lock",
    )

    def __init__(self, kernel: LinuxKernel, cpu: Cpu, name: str, pages: int, *, kept: bool) -> None:
        super().__init__(name, pages)
        self._kernel = kernel
        self.kept = kept
        machine = kernel.machine

        def line(what: str) -> CacheLine:
            return machine.line(f"{name}: {what}", cpu.socket, owner=cpu.id)

        def rwsem(what: str) -> RwSem:
            at = line(what)
            tuning = kernel.spec.rwsem
            return RwSem(at.name, at, at, kernel.osq_nodes, kernel.scheduler, LOCK_FILE, tuning)

        self.frames = CachedPages()
        self.committed = 0
        self._reserved = False
        self.mapped_by: dict[Vma, LinuxMm] = {}
        self.count_line = line("f_count")
        self.xa_lock = spin_lock(kernel.nodes, line("i_pages"), LOCK_PAGE)
        self.info_lock = spin_lock(kernel.nodes, line("info->lock"), LOCK_FILE)
        self.pages_line: CacheLine | None = None
        self.blocks_line: CacheLine | None = None
        if kernel.spec.shmem.counters == "under locks":
            self.pages_line, self.blocks_line = line("nrpages"), line("i_blocks")
        self.i_mmap_rwsem = rwsem("i_mmap_rwsem")
        self.i_rwsem = rwsem("i_rwsem")
        if machine.fabric.heard_guards:
            tree, lock = f"{name}: i_mmap", self.i_mmap_rwsem
            self._tree_line: CacheLine = GuardedLine(machine.fabric, tree, cpu.socket, cpu.id, lock)
        else:
            self._tree_line = line("i_mmap")
        self._nodes: dict[int, CacheLine] = {}

    def find(self, cpu: Cpu, index: int) -> Steps[int | None]:
        """filemap_get_entry without its reference: value is the frame of page *index*, if it is cached."""
        cpu.work(self._kernel.cost.cache_lookup, PAGE_CACHE)
        yield from self._node(cpu, index).read(cpu, PAGE_CACHE)
        frame: int | None = self.frames.get(index)
        return frame

    def find_or_add(self, cpu: Cpu, index: int) -> Steps[tuple[int, bool]]:
        """shmem_get_folio: the frame of page *index*, locked and with a reference for the caller.

        Value: with it, whether it was made: a hole in the file gets a page of zeros. Raises `OutOfMemory`.
        """
        descriptors = self._kernel.descriptors
        while True:
            frame = yield from self.find(cpu, index)
            if frame is None:
                return (yield from self._add(cpu, index))
            yield from descriptors.write(cpu, frame)  # folio_try_get
            if self.frames.get(index) != frame:
                continue  # it has been truncated meanwhile
            self._kernel.pages.in_use.get(frame)
            yield from descriptors.lock(cpu, frame)
            if self.frames.get(index) == frame:
                return frame, False
            yield from descriptors.unlock(cpu, frame)
            yield from self._kernel.put_page(cpu, frame)

    def _add(self, cpu: Cpu, index: int) -> Steps[tuple[int, bool]]:
        """shmem_alloc_and_add_folio, and zero it."""
        kernel = self._kernel
        frame = yield from kernel.pages.allocate(cpu)
        yield from kernel.charges.charge(cpu, frame, kernel.memcg)
        if self.pages_line is None:
            cpu.work(kernel.cost.cache_add, PAGE_CACHE)
        yield from kernel.descriptors.lock(cpu, frame)  # __folio_set_locked: nobody else knows it
        yield from self.xa_lock.acquire(cpu)
        if self.pages_line is not None:
            cpu.work(kernel.cost.cache_add, PAGE_CACHE)
        if index in self.frames:  # somebody else was faster
            yield from self.xa_lock.release(cpu)
            yield from kernel.descriptors.unlock(cpu, frame)
            yield from kernel.charges.uncharge(cpu, [frame])
            yield from kernel.pages.free(cpu, frame)
            kernel.descriptors.forget(frame)
            return (yield from self.find_or_add(cpu, index))
        yield from self._node(cpu, index).store(cpu, PAGE_CACHE)
        self.frames[index] = frame
        kernel.descriptors.of_files.add(frame)
        kernel.pages.in_use.get(frame)  # the cache's reference
        if self.pages_line is not None:
            yield from self.pages_line.store(cpu, PAGE_CACHE)
        yield from self.xa_lock.release(cpu)
        if not self._reserved:
            yield from self._commit(cpu, 1)  # shmem_inode_acct_blocks
        yield from self.info_lock.acquire(cpu)  # shmem_recalc_inode
        if self.pages_line is not None and self.blocks_line is not None:
            yield from self.blocks_line.store(cpu, PAGE_CACHE)
            yield from self.pages_line.read(cpu, PAGE_CACHE)
        yield from self.info_lock.release(cpu)
        yield from kernel.lru.add(cpu, frame)
        yield from kernel.machine.memory.clear_page(cpu, kernel.pages.node(cpu, frame), frame)
        cpu.probe.frame_filled(cpu, frame, None)
        return frame, True

    def reserve(self, cpu: Cpu) -> Steps[None]:
        """shmem_acct_size: account for all its pages, and for none when it is made."""
        self._reserved = True
        yield from self._commit(cpu, self.pages)

    def unreserve(self, cpu: Cpu) -> Steps[None]:
        """shmem_unacct_size: it is gone."""
        if self._reserved:
            yield from self._commit(cpu, -self.committed)

    def _commit(self, cpu: Cpu, pages: int) -> Steps[None]:
        self.committed += pages
        return self._kernel.committed.add(cpu, pages)

    def _node(self, cpu: Cpu, index: int) -> CacheLine:
        number = index // _NODE_PAGES
        line = self._nodes.get(number)
        if line is None:
            name = f"{self.name}: xarray node {number}"
            line = self._nodes[number] = self._kernel.machine.line(name, cpu.socket, owner=cpu.id)
        return line

    # -- mappings -------------------------------------------------------------------------------------------

    def change_mappings(
        self, mm: LinuxMm, cpu: Cpu, *, new: Iterable[Vma] = (), gone: Iterable[Vma] = ()
    ) -> Steps[None]:
        """Put VMAs into the interval tree and take others out of it, or let one have other ends.

        vma_link_file, unlink_file_vma_batch, and vma_prepare to vma_complete. Each VMA holds the file.
        """
        yield from self.i_mmap_rwsem.write_lock(cpu)
        yield from self._tree_line.write(cpu, PAGE_CACHE)
        cpu.work(self._kernel.cost.i_mmap, PAGE_CACHE)
        self.mapped_by.update(dict.fromkeys(new, mm))
        for vma in gone:
            del self.mapped_by[vma]
        yield from self.i_mmap_rwsem.write_unlock(cpu)

    def count_users(self, cpu: Cpu, users: int = 1) -> Steps[None]:
        """get_file or fput, for so many VMAs."""
        for _ in range(users):
            yield from self.count_line.write(cpu, PAGE_CACHE)

    # -- removing -------------------------------------------------------------------------------------------

    def remove(self, cpu: Cpu, indexes: list[int]) -> Steps[None]:
        """truncate_inode_pages_range: take the pages *indexes* out, in batches of the size of an LRU batch.

        Each is locked first; one that somebody else has taken out meanwhile is passed over.
        """
        batch = self._kernel.spec.limits.lru_batch
        for first in range(0, len(indexes), batch):
            yield from self._remove_batch(cpu, indexes[first : first + batch])

    def _remove_batch(self, cpu: Cpu, indexes: list[int]) -> Steps[None]:
        kernel = self._kernel
        descriptors, in_use = kernel.descriptors, kernel.pages.in_use
        found = {index: frame for index in indexes if (frame := self.frames.get(index)) is not None}
        for frame in found.values():  # find_lock_entries
            yield from descriptors.write(cpu, frame)
            in_use.get(frame)
        locked: dict[int, int] = {}
        for index, frame in found.items():
            yield from descriptors.lock(cpu, frame)
            if self.frames.get(index) == frame:
                locked[index] = frame
            else:
                yield from descriptors.unlock(cpu, frame)
        yield from self.xa_lock.acquire(cpu)
        for index in locked:
            yield from self._node(cpu, index).store(cpu, PAGE_CACHE)
            del self.frames[index]
        yield from self.xa_lock.release(cpu)
        for frame in locked.values():
            yield from descriptors.unlock(cpu, frame)
        yield from self.info_lock.acquire(cpu)  # shmem_recalc_inode
        yield from self.info_lock.release(cpu)
        if locked and not self._reserved:
            yield from self._commit(cpu, -len(locked))
        yield from kernel.lru.release(cpu, [*locked.values(), *found.values()])

    def references(self) -> Iterator[Reference]:
        """The pages that the cache owns."""
        owner = f"the page cache of {self.name}, page"
        for index, frame in self.frames.singles:
            yield Reference(frame, owner, index)
        for run in self.frames.runs:
            yield Reference(run.frames.start, owner, run.first, len(run.frames))


def inode_of(vma: Vma) -> Inode:
    """The file that *vma* maps."""
    inode = vma.area.file
    assert isinstance(inode, Inode)
    return inode


class PageCache:
    """All files of a kernel, those that nobody has open any more as well, as long as they have pages."""

    __slots__ = ("_kernel", "_numbers", "inodes")

    def __init__(self, kernel: LinuxKernel) -> None:
        self._kernel = kernel
        self._numbers = count(1)
        self.inodes: dict[Inode, None] = {}

    def create(self, cpu: Cpu, name: str, pages: int, *, kept: bool = True) -> Inode:
        """A new file with nothing but holes."""
        inode = Inode(self._kernel, cpu, f"{name} {next(self._numbers)}", pages, kept=kept)
        self.inodes[inode] = None
        return inode

    def evict(self, inode: Inode) -> None:
        """*inode* has no name, no mapping and no page any more."""
        self.inodes.pop(inode, None)  # another of its VMAs may have come first

    def fill(self, cpu: Cpu, inode: Inode) -> None:
        """All pages of *inode* are there, on the LRU lists, in no time. Raises `OutOfMemory`."""
        kernel = self._kernel
        whole = 0
        while inode.pages - whole >= SLOTS and kernel.swap is None:
            run = kernel.pages.take_run(cpu, SLOTS.bit_length() - 1)
            if run is None:
                break
            inode.frames.add_run(whole, run)
            kernel.descriptors.of_files.add_run(run)
            kernel.lru.put_run_on_lists(run)
            tell_filled(cpu, run)
            whole += SLOTS
        frames = kernel.pages.take(cpu, inode.pages - whole)
        for index, frame in enumerate(frames, whole):
            inode.frames[index] = frame
            kernel.descriptors.of_files.add(frame)
            kernel.pages.node(cpu, frame)  # who touches it first decides where a guest's memory lies
        tell_filled(cpu, frames)
        kernel.lru.put_on_lists(frames)
        inode.committed += inode.pages
        kernel.committed.add_at_once(inode.pages)

    def contradictions(self, spaces: Iterable[LinuxMm]) -> Iterator[str]:
        """Files have pages of files only, none behind their end; they know the VMAs of all *spaces* that map
        them and no others; nobody holds a page's lock."""
        mapping = {vma: mm for mm in spaces for vma in mm.tree if vma.area.file is not None}
        known = {vma: mm for inode in self.inodes for vma, mm in inode.mapped_by.items()}
        for vma in [*mapping, *known]:
            if mapping.get(vma) is not known.get(vma) or vma not in inode_of(vma).mapped_by:
                yield f"{vma} and its file do not agree that it maps it"
        for inode in self.inodes:
            of_files = self._kernel.descriptors.of_files
            found = sorted(frame for _, frame in inode.frames.singles if frame not in of_files)
            for run in inode.frames.runs:
                within = of_files.runs.within(run.frames.start, run.frames.stop)
                if sum(part.end - part.start for part in within) < len(run.frames):
                    found += [frame for frame in run.frames if frame not in of_files]
            for frame in found:
                yield f"{inode} has frame {frame}, which is no page of a file"
            ends = [index + 1 for index, _ in inode.frames.singles]
            ends += [run.first + len(run.frames) for run in inode.frames.runs]
            if max(ends, default=0) > inode.pages:
                yield f"{inode} is {inode.pages} pages long and has pages behind its end"
            if not inode.kept and not inode.mapped_by and inode.frames:
                yield f"{inode} is mapped by nobody and still there"
        yield from self._kernel.descriptors.contradictions()

    def references(self) -> Iterator[Reference]:
        for inode in self.inodes:
            yield from inode.references()
