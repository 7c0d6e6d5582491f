"""What the operations on an address space of CortenMM share: transactions, tables, lazy flushes.

The operations are in modules of their own; `space` puts them together. Source: SOSP'25, section 4 and figure
8; artifact, kernel/src/vm/vmar and ostd/src/mm (commit f39c207).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.entry_cursor import EntryCursor
from sim.designs.cortenmm.family import Family
from sim.designs.cortenmm.file_maps import FileMaps
from sim.designs.cortenmm.marks import mark_of
from sim.designs.cortenmm.metadata import add_array
from sim.designs.cortenmm.protocols import PROTOCOLS
from sim.designs.cortenmm.va_alloc import START_BRK
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    SYSCALL,
    AddressSpace,
    Alike,
    LazyFlush,
    Mapped,
    OutOfMemory,
    PageTablePage,
    Piece,
    Present,
    Reference,
    Rights,
    SegmentationFault,
    Status,
    SynchronousFlush,
    Walk,
    Ways,
    marked,
    new_root,
    pages_of,
    slot_of,
)
from sim.quantities import PAGE_BYTES
from sim.sync import QueuedSpinLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.designs.cortenmm.kernel import CortenKernel

T = TypeVar("T")

LOCK_BRK: Final = Activity("lock: program break")


class CortenMm(AddressSpace):
    """The state of one process. The page table is the only record of what is mapped.

    *users* are the processes that run in it, two between a vfork and the program of the child, and whoever
    comes by a reverse map. *unflushed* are pages, with their frames, of which an mprotect has told no TLB.
    *family* is where its private pages may be; only swapping asks. The heap lies
    between *start_brk* and *brk*.
    """

    __slots__ = (
        "_active_line",
        "_pool_low",
        "brk",
        "brk_lock",
        "cost",
        "family",
        "kernel",
        "maps",
        "protocol",
        "tlb",
        "unflushed",
        "users",
        "va",
    )

    start_brk: ClassVar = START_BRK

    def __init__(self, kernel: CortenKernel, cpu: Cpu) -> None:
        super().__init__(kernel.machine)
        self.kernel = kernel
        self.cost = kernel.cost
        self.protocol = PROTOCOLS[kernel.spec.protocol](self)
        self.root = new_root(kernel.machine, cpu.socket, cpu.id)
        self.root.lock = self.protocol.make_lock(self.root)
        kernel.footprint.add("page_table", PAGE_BYTES)
        self.va = kernel.new_va_allocator()
        self.maps = FileMaps(kernel, cpu, self)
        self.users = 1
        self._pool_low = kernel.spec.limits.table_pool_low
        self.family: Family | None = None if kernel.swap is None else kernel.swap.new_family(cpu, self)
        line = kernel.machine.line("program break", cpu.socket, owner=cpu.id)
        self.brk_lock = QueuedSpinLock(kernel.nodes, line, LOCK_BRK)
        self.brk = START_BRK
        cost = self.cost
        self._active_line = kernel.machine.line("active cpu set", cpu.socket, owner=cpu.id)
        self.tlb = LazyFlush(
            kernel.machine,
            SynchronousFlush(
                kernel.machine,
                self._active_line,
                Ways(ask=cost.flush_ask, answer=cost.flush_answer),
                mask=self._active_line,
            ),
            slots=kernel.spec.limits.latr_slots,
            tick=kernel.spec.latr_tick,
            publish=cost.latr_publish,
            search=cost.latr_search,
            sweep=cost.latr_sweep,
            as_coded=kernel.spec.munmap_flush == "lazy-as-coded",
        )
        self.unflushed: set[tuple[int, int]] = set()

    def activate(self, cpu: Cpu) -> None:
        self.kernel.contexts.activate(cpu, self.tlb)

    def asid_left_on(self, cpu: Cpu) -> int | None:
        return self.kernel.contexts.asid_of(cpu, self.tlb)

    def deactivate(self, cpu: Cpu) -> Steps[None]:
        """The last context switch of the thread is a quiescent state."""
        return self.kernel.rcu.quiescent(cpu)

    def node_of(self, cpu: Cpu, frame: int) -> int:
        return self.kernel.frames.node(cpu, frame)

    def status(self, page: int) -> Rights | None:
        entry = self.root.deepest(page).entry_of(page)
        return None if entry is None else entry.rights

    def mark(self, page: int) -> Status | None:
        """What *page* is, whether its contents are there or not."""
        table = self.root.deepest(page)
        entry = table.entry_of(page)
        return None if entry is None else mark_of(entry, table.metadata.get(slot_of(page, table.level)))

    def settle(self) -> None:
        self.tlb.settle()
        self.kernel.rcu.settle()

    def shares(self, page: int) -> bool:
        mark = self.mark(page)
        return mark is not None and mark.shared

    @property
    def walks_in_rcu(self) -> bool:
        return self.protocol.walks_in_rcu

    # -- the end state --------------------------------------------------------------------------------------

    def mappings(self) -> Iterator[Mapped]:
        return iter(marked(self.root))

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """Nothing is mapped where the address allocator may still give addresses away."""
        return self.va.contradictions(mappings)

    def deferred(self) -> Iterator[Reference]:
        for release in self.tlb.releases():
            if isinstance(release, FreeAfterFlush):
                yield from release.references()

    @abstractmethod
    def put(self, cpu: Cpu) -> Steps[None]:
        """One user less (mmput); with the last one all that is mapped goes."""

    def may_be_stale(self, page: int, frame: int) -> bool:
        left = self.tlb.is_left_behind(page, frame) or (page, frame) in self.unflushed
        return left or self.tlb.is_pinned(page, frame)

    # -- parts ----------------------------------------------------------------------------------------------

    def enter(self, cpu: Cpu) -> None:
        """Enter the kernel for a system call."""
        self.tlb.catch_up(cpu)
        self.machine.entry.syscall(cpu, SYSCALL, self.cost.syscall)

    def lock(self, cpu: Cpu, start: int, end: int) -> Steps[Cursor]:
        """`AddrSpace.lock(range)`: fill the table pool, then lock. Value: the cursor.

        Raises `OutOfMemory` where there is none for a table on the way; nothing is locked then.
        """
        cpu.work(self.cost.cursor, PAGE_TABLE)
        yield from self.prefill(cpu)
        cursor = Cursor(self, cpu, start, end)
        try:
            yield from self.protocol.lock(cursor)
        except OutOfMemory:
            yield from self.protocol.unlock(cursor)
            raise
        if cpu.heard:
            cpu.probe.range_locked(self, cpu, start, end)
        return cursor

    def lock_range(self, cpu: Cpu, start: int, end: int) -> Steps[Cursor]:
        """The same for a range that the protocol may take entry by entry."""
        if self.protocol.entry_by_entry:
            return EntryCursor(self, cpu, start, end)
        return (yield from self.lock(cpu, start, end))

    def within(self, cursor: Cursor, steps: Steps[T]) -> Steps[T]:
        """*steps* inside the transaction; where they fail it ends. Raises what they raise."""
        try:
            return (yield from steps)
        except (OutOfMemory, SegmentationFault):
            yield from self.unlock(cursor)
            raise

    def unlock(self, cursor: Cursor) -> Steps[None]:
        """End the transaction."""
        if not cursor.whole:
            return
        if cursor.cpu.heard:
            cursor.cpu.probe.range_unlocked(self, cursor.cpu, cursor.start, cursor.end)
        yield from self.protocol.unlock(cursor)
        if cursor.slots:
            assert self.kernel.swap is not None
            yield from self.kernel.swap.release(cursor.cpu, cursor.slots)

    def unlock_and_flush(self, cursor: Cursor, removed: list[Piece]) -> Steps[None]:
        """End the transaction. Data frames and unlinked tables that no TLB may walk to are freed after the
        flush, which is over by then or put off."""
        cpu = cursor.cpu
        gone = [piece if isinstance(piece, Alike) else (piece[0], piece[1].frame) for piece in removed]
        something = bool(removed or cursor.unlinked)
        lazy = self.kernel.spec.munmap_flush != "synchronous"
        if something and not lazy:
            freed_tables = bool(cursor.unlinked)
            yield from self.tlb.flush(cpu, pages_of(gone), freed_tables=freed_tables, whole=freed_tables)
        yield from self.unlock(cursor)
        if something and lazy:
            yield from self._active_line.read(cpu, PAGE_TABLE)
            yield from self.tlb.flush_lazily(cpu, gone, FreeAfterFlush(self, removed, cursor.unlinked))
        elif something:
            self.free_removed(cpu, removed, cursor.unlinked)
        if self.kernel.pooled:
            yield from self.kernel.frames.settle(cpu)

    def end_discard(self, cursor: Cursor, removed: list[tuple[int, Present | Status]]) -> Steps[None]:
        """Flush what `Cursor.discard` has *removed*, end the transaction, and give it back."""
        cpu = cursor.cpu
        present = {page: entry.frame for page, entry in removed if isinstance(entry, Present)}
        if present:
            yield from self.tlb.flush(cpu, list(present))
        yield from self.unlock(cursor)
        for frame in present.values():
            self.kernel.frames.free(cpu, frame)
        if self.kernel.pooled:
            yield from self.kernel.frames.settle(cpu)

    def prefill(self, cpu: Cpu) -> Steps[None]:
        """Keep zeroed pages for tables at hand, so that none is zeroed inside a transaction: as many as there
        is memory for, as not every transaction needs one."""
        frames = self.kernel.frames
        pool = self.kernel.table_pool[cpu.id]
        if len(pool) <= self._pool_low:
            while len(pool) < self.kernel.spec.limits.table_pool_full:
                try:
                    frame = yield from self.kernel.new_frame(cpu)
                except OutOfMemory:
                    return
                yield from self.machine.memory.clear_page(cpu, frames.node(cpu, frame), frame)
                pool.append(frame)

    def make_table(self, cpu: Cpu, parent: PageTablePage, slot: int, page: int) -> Steps[PageTablePage]:
        """A table for *slot* of *parent*, not linked yet; a status in the slot fills it.

        Raises `OutOfMemory`.
        """
        status = parent.get(slot)
        versioned = self.protocol.versioned
        if versioned and parent.array is None:
            yield from add_array(self, cpu, parent)
        cpu.work(self.cost.table_alloc, PAGE_TABLE)
        frame = yield from self.take_zeroed(cpu)
        if isinstance(status, Status):
            cpu.work(self.cost.fill_table, PAGE_TABLE)
        table = PageTablePage(
            self.machine,
            parent.level - 1,
            page,
            frame,
            self.machine.spec.topology.socket_of_node(self.kernel.frames.node(cpu, frame)),
            maker=cpu.id,
            fill=status if isinstance(status, Status) else None,
        )
        table.lock = self.protocol.make_lock(table)
        if versioned or (table.fill is not None and self.kernel.arrays is not None):
            try:
                yield from add_array(self, cpu, table)
            except OutOfMemory:
                self.kernel.frames.free(cpu, frame)
                raise
        self.kernel.footprint.add("page_table", PAGE_BYTES)
        return table

    def take_zeroed(self, cpu: Cpu) -> Steps[int]:
        """A zeroed page from the cpu's pool, or made now. Raises `OutOfMemory`."""
        pool = self.kernel.table_pool[cpu.id]
        if pool:
            return pool.pop()
        frame = yield from self.kernel.frames.allocate(cpu)
        yield from self.machine.memory.clear_page(cpu, self.kernel.frames.node(cpu, frame), frame)
        return frame

    def free_removed(self, cpu: Cpu, removed: list[Piece], tables: list[PageTablePage]) -> None:
        """No TLB can reach them any more: give the frames of mappings and unlinked tables back."""
        frames = self.kernel.frames
        for piece in removed:
            if isinstance(piece, Alike):
                frames.free_run(cpu, piece.frames)
            else:
                frames.free(cpu, piece[1].frame)
        self.free_tables(cpu, tables)

    def free_tables(self, cpu: Cpu, tables: list[PageTablePage]) -> None:
        """Give the frames of unlinked tables back."""
        for table in tables:
            self.kernel.frames.free(cpu, table.frame)
            self.kernel.footprint.add("page_table", -PAGE_BYTES)
            if table.array is not None:
                self.kernel.free_array(cpu, table.array)


class FreeAfterFlush:
    """What a transaction has removed, to be freed when no TLB can reach it any more."""

    __slots__ = ("_removed", "_space", "_tables")

    def __init__(self, space: CortenMm, removed: list[Piece], tables: list[PageTablePage]) -> None:
        self._space = space
        self._removed = removed
        self._tables = tables

    def __call__(self, cpu: Cpu) -> None:
        self._space.free_removed(cpu, self._removed, self._tables)

    def references(self) -> Iterator[Reference]:
        for piece in self._removed:
            if isinstance(piece, Alike):
                yield Reference(piece.frames.start, "a flush of page", piece.page, len(piece.frames))
            else:
                yield Reference(piece[1].frame, "a flush of page", piece[0])
        for table in self._tables:
            yield Reference(table.frame, "a flush of the table of page", table.base)
