"""Page tables as caches of the tree (page_map_cache), and who is told when something leaves them.

per-core   each core that runs the process has a page table, which it alone reads and writes. A page's
           descriptor has the set of cores whose tables have it. Who takes a page away clears its own table,
           and asks exactly the other cores of the set. Each of them clears its own over the whole range, with
           an INVLPG for each page that is there. Nobody else's line is written but the descriptor's.
shared     one page table. Who takes pages away clears their entries, flushes its own TLB, and asks all cores
           that run the process to flush theirs.

    locked   | own table, INVLPG | tree | ask ==============> acks | unlocked
    others                                   clear, INVLPG, ack

Where a page is shared each core faults on it for itself, and a process has as many tables as it has cores.

Source: aclements/sv6 at 9271b3f, include/hwvm.hh, kernel/hwvm.cc.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, Present, new_root, slot_of
from sim.mm.page_table import PAGES_PER_ENTRY
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.radixvm.kernel import RadixKernel
    from sim.designs.radixvm.slots import Desc
    from sim.designs.radixvm.tree import RadixTree

NOWHERE: Final = 1 << 40
"""A page behind all others."""


class Shootdown:
    """What others are to be told: pages [*start*, *end*), and the set of *cores* if it is known.

    *hull*: the range is that of several pages or parts. Then each core clears what lies between them, too.
    """

    __slots__ = ("cores", "end", "hull", "start")

    def __init__(self) -> None:
        self.cores = 0
        self.start = NOWHERE
        self.end = 0
        self.hull = False

    def add(self, start: int, end: int) -> None:
        """These pages, too: the hull of all."""
        self.hull = self.end > 0
        self.start = min(self.start, start)
        self.end = max(self.end, end)


class Tables(ABC):
    """The page tables of one process. *running* are the cpus that have it loaded."""

    __slots__ = ("_calls", "_cost", "_kernel", "_machine", "running")

    def __init__(self, kernel: RadixKernel) -> None:
        self._kernel = kernel
        self._machine = kernel.machine
        self._cost = kernel.cost
        self._calls = kernel.calls
        self.running: dict[Cpu, None] = {}

    @abstractmethod
    def table_of(self, cpu: Cpu) -> PageTablePage:
        """The root of what *cpu* walks."""

    @abstractmethod
    def roots(self) -> Sequence[PageTablePage]:
        """Those of all tables."""

    @abstractmethod
    def insert(self, cpu: Cpu, page: int, desc: Desc) -> Steps[None]:
        """*cpu* may use *page* as *desc* says, whose slot it has locked. Raises `OutOfMemory`."""

    @abstractmethod
    def invalidate(self, cpu: Cpu, start: int, end: int, cores: int, asked: Shootdown) -> Steps[None]:
        """Pages [*start*, *end*), which *cores* may have, go from what *cpu* can reach; *asked* gets what
        others are to be told."""

    @abstractmethod
    def perform(self, cpu: Cpu, asked: Shootdown) -> Steps[None]:
        """Tell them, and wait until all have done it."""

    def _table(self, cpu: Cpu, page: int) -> Steps[PageTablePage]:
        """The level-1 table of *page*, made if need be (pgmap::iterator::resolve). Raises `OutOfMemory`."""
        frames, table = self._kernel.frames, self.table_of(cpu)
        cpu.work(self._cost.find_entry, PAGE_TABLE)
        while table.level > 1:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            if child is None:
                frame = yield from frames.allocate(cpu)
                where = frames.node(cpu, frame)
                yield from self._machine.memory.clear_page(cpu, where, frame)
                home = self._machine.spec.topology.socket_of_node(where)
                yield from table.line(slot).write(cpu, PAGE_TABLE)  # compare and swap
                child = table.child(slot)
                if child is None:
                    child = PageTablePage(self._machine, table.level - 1, page, frame, home, maker=cpu.id)
                    table.set(slot, child)
                    self._kernel.footprint.add("page_table", PAGE_BYTES)
                else:
                    yield from frames.free(cpu, frame)
            table = child
        return table

    def _ask(self, cpu: Cpu, targets: Sequence[Cpu], asked: Shootdown) -> Steps[None]:
        if not targets:
            return
        cpu.probe.flush(cpu, asked.end - asked.start)
        round_ = yield from self._calls.start(
            cpu, targets, partial(self._answer, asked), code=self._kernel.ask
        )
        yield from self._calls.finish(round_)

    @abstractmethod
    def _answer(self, asked: Shootdown, target: Cpu) -> int:
        """What *target* does in its handler. Value: what that takes (ps)."""

    def _new_root(self, cpu: Cpu) -> PageTablePage:
        self._kernel.footprint.add("page_table", PAGE_BYTES)
        return new_root(self._machine, cpu.socket, cpu.id)

    # -- switching (`contexts`): without PCID a core that leaves a space has nothing of it in its TLB --------

    @property
    def loaded_on(self) -> list[Cpu]:
        """The cpus that have the space loaded."""
        return list(self.running)

    @property
    def valid_from(self) -> int:
        """Nobody has seen so much."""
        return 1

    def leave(self, cpu: Cpu) -> Steps[int]:
        """*cpu* loads another space."""
        return self.drop(cpu)
        yield

    def drop(self, cpu: Cpu) -> int:
        """`leave` that takes no time."""
        del self.running[cpu]
        return 0

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* is about to load the space."""
        self.activate(cpu)
        return
        yield

    def activate(self, cpu: Cpu) -> None:
        """*cpu* has it loaded."""
        self.running[cpu] = None

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        """Nobody flushes without the tree."""
        raise NotImplementedError
        yield

    def loaded(self, cpu: Cpu, asid: int) -> None:
        """There is one number."""
        return

    def forget(self, cpu: Cpu) -> None:
        """What *cpu* had is gone already."""
        return


class PerCoreTables(Tables):
    """One page table a core, made when the core first loads the space.

    A shootdown of pages here and there clears what lies between them as well, and the sets of those pages are
    not told: *lost* has them, by the core that has lost them.
    """

    __slots__ = ("_roots", "_tree", "lost")

    def __init__(self, kernel: RadixKernel, cpu: Cpu, tree: RadixTree) -> None:
        super().__init__(kernel)
        self._tree = tree
        self._roots: dict[Cpu, PageTablePage] = {cpu: self._new_root(cpu)}
        self.lost: dict[Cpu, set[int]] = {}

    def table_of(self, cpu: Cpu) -> PageTablePage:
        root = self._roots.get(cpu)
        if root is None:
            root = self._roots[cpu] = self._new_root(cpu)
        return root

    def roots(self) -> Sequence[PageTablePage]:
        return tuple(self._roots.values())

    def owners(self) -> Sequence[tuple[Cpu, PageTablePage]]:
        """Each table with its core."""
        return tuple(self._roots.items())

    def activate(self, cpu: Cpu) -> None:
        self.table_of(cpu)
        self.running[cpu] = None

    def insert(self, cpu: Cpu, page: int, desc: Desc) -> Steps[None]:
        assert desc.counted is not None
        table = yield from self._table(cpu, page)
        slot = slot_of(page, 1)
        cpu.work(self._cost.entry, PAGE_TABLE)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, Present(desc.counted.frame, desc.rights, copy_on_write=desc.cow))
        desc.cores |= cpu.bit
        if cpu in self.lost:
            self.lost[cpu].discard(page)

    def invalidate(self, cpu: Cpu, start: int, end: int, cores: int, asked: Shootdown) -> Steps[None]:
        if cores & cpu.bit:
            if cpu.pending:
                yield cpu.take_pending()
            length, _ = self._clear(cpu, start, end, remote=False)
            cpu.stall(length, TLB_FLUSH)
        if others := cores & ~cpu.bit:
            asked.cores |= others
            asked.add(start, end)

    def perform(self, cpu: Cpu, asked: Shootdown) -> Steps[None]:
        return self._ask(cpu, [other for other in self._machine.cpus if asked.cores & other.bit], asked)

    def _answer(self, asked: Shootdown, target: Cpu) -> int:
        length, gone = self._clear(target, asked.start, asked.end, remote=True)
        if asked.hull:
            for page in gone:
                desc = self._tree.at(page)
                if desc is not None and desc.cores & target.bit:
                    self.lost.setdefault(target, set()).add(page)
        return length

    def _clear(self, cpu: Cpu, start: int, end: int, *, remote: bool) -> tuple[int, list[int]]:
        """*cpu* clears its own table. Value: what that takes (ps), and the pages that it had."""
        find, each = cpu.work_time(self._cost.find_entry), cpu.work_time(self._cost.entry)
        length, now = 0, self._machine.engine._now
        gone: list[int] = []
        page = start
        while page < end:
            table = self._roots[cpu].deepest(page)
            length += find
            stop = min(end, _end_of(table, page))
            if table.level == 1:
                for each_page in range(page, stop):
                    slot = slot_of(each_page, 1)
                    if table.get(slot) is not None:
                        length += each + table.line(slot).take_between(cpu, now + length)
                        table.set(slot, None)
                        gone.append(each_page)
            page = stop
        if cpu in self.running:
            if cpu.heard:
                cpu.probe.tlb_flush(cpu, len(gone), remote)
            cpu.tlb.invalidate(gone)
            length += len(gone) * cpu.tlb.invalidate_cost
        return length, gone


class SharedTable(Tables):
    """One page table, and the set of cores that run the process, on a line of its own."""

    __slots__ = ("_active", "_pages", "_root")

    def __init__(self, kernel: RadixKernel, cpu: Cpu) -> None:
        super().__init__(kernel)
        self._root = self._new_root(cpu)
        self._active = kernel.machine.line("active cores", cpu.socket, owner=cpu.id)
        self._pages = kernel.spec.flush_pages

    def table_of(self, cpu: Cpu) -> PageTablePage:
        return self._root

    def roots(self) -> Sequence[PageTablePage]:
        return (self._root,)

    def leave(self, cpu: Cpu) -> Steps[int]:
        yield from self._active.write(cpu, TLB_FLUSH)
        return self.drop(cpu)

    def enter(self, cpu: Cpu) -> Steps[None]:
        yield from self._active.write(cpu, TLB_FLUSH)
        self.activate(cpu)

    def insert(self, cpu: Cpu, page: int, desc: Desc) -> Steps[None]:
        assert desc.counted is not None
        table = yield from self._table(cpu, page)
        slot = slot_of(page, 1)
        cpu.work(self._cost.entry, PAGE_TABLE)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, Present(desc.counted.frame, desc.rights, copy_on_write=desc.cow))

    def invalidate(self, cpu: Cpu, start: int, end: int, cores: int, asked: Shootdown) -> Steps[None]:
        page = start
        while page < end:
            table = self._root.deepest(page)
            cpu.work(self._cost.find_entry, PAGE_TABLE)
            stop = min(end, _end_of(table, page))
            if table.level == 1:
                for each in range(page, stop):
                    slot = slot_of(each, 1)
                    if table.get(slot) is not None:
                        cpu.work(self._cost.entry, PAGE_TABLE)
                        yield from table.line(slot).store(cpu, PAGE_TABLE)
                        table.set(slot, None)
                        asked.add(each, each + 1)
            page = stop

    def perform(self, cpu: Cpu, asked: Shootdown) -> Steps[None]:
        if asked.start >= asked.end:
            return
        yield from self._active.read(cpu, TLB_FLUSH)
        if cpu in self.running:
            if cpu.pending:
                yield cpu.take_pending()
            cpu.stall(self._flush(cpu, asked.start, asked.end, remote=False), TLB_FLUSH)
        yield from self._ask(cpu, [other for other in self.running if other is not cpu], asked)

    def _answer(self, asked: Shootdown, target: Cpu) -> int:
        return self._flush(target, asked.start, asked.end, remote=True)

    def _flush(self, cpu: Cpu, start: int, end: int, *, remote: bool) -> int:
        """core_tracking_shootdown::clear_tlb. Value: what that takes (ps)."""
        if cpu not in self.running:
            return 0
        pages = end - start
        whole = pages > self._pages
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, 0 if whole else pages, remote)
        if whole:
            cpu.tlb.flush()
            return int(cpu.tlb.flush_cost)
        cpu.tlb.invalidate(range(start, end))
        return int(pages * cpu.tlb.invalidate_cost)


def _end_of(table: PageTablePage, page: int) -> int:
    """The page behind those that *table*, the last one on the way to *page*, says the same of: its own, or
    those of a slot without a table."""
    if table.level == 1:
        return table.base + SLOTS
    span = PAGES_PER_ENTRY[table.level]
    return page - page % span + span
