"""What is replicated: a B-tree of mappings and the hardware's page table (arch/x86_64/vspace).

Sequential code: who runs it has the replica for writing. Tables stay when nothing is mapped in them any more.

Source: vmware-labs/node-replicated-kernel at 38557a6, kernel/src/arch/x86_64/vspace/mod.rs, page_table.rs,
kernel/src/nrproc.rs (dispatch_mut).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sim.designs.nros.btree import BTree, Mapping, Node, Touched
from sim.designs.nros.operations import NOT_MAPPED, Adjust, Answer, LogOperation, MapFrame, Unmap
from sim.engine import Activity, Steps
from sim.mm import HUGE_ORDER, PAGE_TABLE, Errno, OutOfMemory, PageTablePage, Present, new_root, slot_of
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.nros.kernel import NrosKernel
    from sim.designs.nros.runner import Runner
    from sim.designs.nros.tables import TableFrames
    from sim.hardware import Cpu

MAPPINGS: Final = Activity("mappings")


def level_of(order: int) -> int:
    """The level of the table that has the entry of a frame of 2**order pages."""
    return 2 if order == HUGE_ORDER else 1


class VSpace:
    """The address space as replica *number* has it, in memory of socket *home*."""

    __slots__ = ("_cost", "_home", "_kernel", "_number", "_tables", "root", "tree")

    def __init__(self, kernel: NrosKernel, tables: TableFrames, number: int, home: int, maker: Cpu) -> None:
        self._kernel = kernel
        self._cost = kernel.cost
        self._tables = tables
        self._number = number
        self._home = home
        self.tree = BTree(kernel.machine, kernel.spec.tree, home)
        self.root = new_root(kernel.machine, home, maker.id)
        kernel.footprint.add("page_table", PAGE_BYTES)

    def apply(self, runner: Runner, operation: LogOperation) -> Steps[Answer]:
        """Do *operation*. All replicas come to the same answer."""
        if isinstance(operation, MapFrame):
            return self._map(runner, operation)
        if isinstance(operation, Unmap):
            return self._unmap(runner, operation)
        return self._adjust(runner, operation)

    def resolve(self, runner: Runner, page: int) -> Steps[Present | None]:
        """What the page table says of *page*. The reader has the replica for reading."""
        runner.work(self._cost.find_entry, PAGE_TABLE)
        table = self.root.deepest(page)
        yield from runner.read(table.line(slot_of(page, table.level)), PAGE_TABLE)
        return self.root.walk(page)

    def _map(self, runner: Runner, asked: MapFrame) -> Steps[Answer]:
        kernel, page, mapping = self._kernel, asked.page, asked.mapping
        with suppress(OutOfMemory):  # whether there are tables for all is found out where they are taken
            yield from kernel.caches.refill(runner, kernel.spec.caches.refill)
        touched = Touched()
        before = self.tree.floor(page + mapping.pages - 1, touched)
        yield from self._pay(runner, touched)
        if before is not None and page < before[0] + before[1].pages:
            same = before == (page, mapping)
            return Answer(None if same else Errno.EEXIST, *before)
        table = yield from self._table(runner, page, level_of(mapping.order))
        if table is None:
            return Answer(Errno.ENOMEM, page, None)
        yield from self._pay(runner, self.tree.insert(page, mapping))
        yield from self._set(runner, table, page, mapping)
        return Answer(None, page, mapping)

    def _unmap(self, runner: Runner, asked: Unmap) -> Steps[Answer]:
        found = yield from self._find(runner, asked.page)
        if found is None:
            return NOT_MAPPED
        page, mapping = found
        table = yield from self._table(runner, page, level_of(mapping.order))
        assert table is not None
        yield from self._set(runner, table, page, None)
        yield from self._pay(runner, self.tree.remove(page))
        return Answer(None, page, mapping)

    def _adjust(self, runner: Runner, asked: Adjust) -> Steps[Answer]:
        found = yield from self._find(runner, asked.page)
        if found is None:
            return NOT_MAPPED
        page, mapping = found[0], found[1]._replace(rights=asked.rights)
        table = yield from self._table(runner, page, level_of(mapping.order))
        assert table is not None
        yield from self._set(runner, table, page, mapping)
        yield from self._pay(runner, self.tree.set(page, mapping))
        return Answer(None, page, mapping)

    # -- parts ----------------------------------------------------------------------------------------------

    def _find(self, runner: Runner, page: int) -> Steps[tuple[int, Mapping] | None]:
        touched = Touched()
        found = self.tree.covering(page, touched)
        yield from self._pay(runner, touched)
        return found

    def _pay(self, runner: Runner, touched: Touched) -> Steps[None]:
        """The lines and the work of an operation on the tree."""
        runner.work(len(touched.read) * self._cost.tree_node, MAPPINGS)
        runner.work(len(touched.written) * self._cost.tree_move, MAPPINGS)
        runner.work(touched.made * self._cost.node_alloc, MAPPINGS)
        yield from self._lines(runner, touched.read, write=False)
        yield from self._lines(runner, touched.written, write=True)

    def _lines(self, runner: Runner, nodes: Iterable[Node], *, write: bool) -> Steps[None]:
        for node in nodes:
            if write:
                yield from runner.store(node.key_line, MAPPINGS)
                yield from runner.store(node.value_line, MAPPINGS)
            else:
                yield from runner.read(node.key_line, MAPPINGS)

    def _table(self, runner: Runner, page: int, level: int) -> Steps[PageTablePage | None]:
        """The table of *level* on the way to *page*, made if need be; None: there is no memory for it."""
        table, caches = self.root, self._kernel.caches
        runner.work(self._cost.find_entry, PAGE_TABLE)
        while table.level > level:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            if child is None:
                frame = yield from self._tables.take(runner, self._number)
                if frame is None:
                    return None
                yield from runner.zero(caches, frame)
                yield from runner.store(table.line(slot), PAGE_TABLE)
                child = self._new_table(runner, table.level - 1, page, frame)
                table.set(slot, child)
            table = child
        return table

    def _new_table(self, runner: Runner, level: int, page: int, frame: int) -> PageTablePage:
        kernel = self._kernel
        kernel.footprint.add("page_table", PAGE_BYTES)
        return PageTablePage(kernel.machine, level, page, frame, self._home, maker=runner.cpu.id)

    def _set(self, runner: Runner, table: PageTablePage, page: int, mapping: Mapping | None) -> Steps[None]:
        """The entry of *page*. What cannot be accessed at all has one too, without rights."""
        slot = slot_of(page, table.level)
        runner.work(self._cost.entry, PAGE_TABLE)
        yield from runner.store(table.line(slot), PAGE_TABLE)
        entry = None if mapping is None else Present(mapping.frame, mapping.rights, table.level)
        table.set(slot, entry)
