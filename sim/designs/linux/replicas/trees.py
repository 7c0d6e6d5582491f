"""Page tables of one process, one for each node (numaPTE; Mitosis).

A cpu walks the table of its node. A mapping belongs to the node on which it was made, its *owner*: there the
kernel keeps its entries, and a level-1 table of the owner is where it looks and whose lock it takes.

    fault on the owner's node    as ever, in the owner's table
    fault on another node        owner's entry (under its lock): does it serve the fault?
                                 no: the fault as ever, in the owner's table
                                 own tables that are missing, linked behind the owner's | lock: copy
    an entry changes             the owner's, then that of each node that has the table (`SharedLeaf`)
    munmap, mprotect flush       numaPTE: cpus of nodes that have one of the tables; Mitosis: all cpus

So a table of a node says at any time what the owner's does or, with numaPTE, nothing yet. With Mitosis a
table is made for all nodes at once, and there is nothing to copy.

`LinuxMm.root` has the entries as the kernel sees them, in `SharedLeaf`s. It is no memory, and nobody pays for
a look into its upper levels: where the kernel pays it goes down the owner's tree.

What numaPTE does otherwise: where mappings of two owners lie in one level-1 table each has a table of its
own, linked into one list; here that table belongs to whom it was made for. A fault copies under the lock of
its own table, so that it may miss who clears the owner's meanwhile; here it is the owner's lock. A range in
several tables is flushed everywhere unless munmap does it; here nodes are counted in any case. Whole tables
do not move with mremap here. Huge pages there are none, as there.

Sources: julianw1010/hydra-v4.17.0-fork at b1f46cd, mm/memory.c (try_lazy_repl, __repl_pte_alloc,
zap_pte_range), arch/x86/mm/tlb.c, mm/mmap.c; Gao et al., numaPTE, arXiv 2401.15558; Achermann et al.,
Mitosis, ASPLOS 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.designs.linux.page_alloc import PageAllocator
from sim.designs.linux.replicas.flush import SharersFlush
from sim.designs.linux.replicas.leaf import NO_FRAME, SharedLeaf
from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.mm import (
    PAGE_TABLE,
    SLOTS,
    OutOfMemory,
    PageTablePage,
    Present,
    new_root,
    slot_of,
)
from sim.mm.page_table import PTES_PER_LINE
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.replicas_spec import ReplicasSpec
    from sim.designs.linux.vma import Vma
    from sim.hardware import Cpu


class NodeTrees:
    """The tables of *mm*; *eager*: all nodes have all of them."""

    __slots__ = ("_cost", "_mm", "_prefetch", "_topology", "eager", "roots")

    def __init__(self, mm: LinuxMm, spec: ReplicasSpec, cpu: Cpu) -> None:
        machine = mm.machine
        self._mm = mm
        self._topology = machine.spec.topology
        self._cost = at_clock(spec, machine.spec.plain_clock)
        self._prefetch = 1 << spec.prefetch
        self.eager = spec.method == "mitosis"
        homes = {self._topology.visible_node(other.node): other.socket for other in reversed(machine.cpus)}
        self.roots = {node: new_root(machine, homes[node], cpu.id) for node in sorted(homes)}
        mm.kernel.footprint.add("page_table", PAGE_BYTES * (len(self.roots) - 1))

    def node_of(self, cpu: Cpu) -> int:
        """The node of *cpu*, as the kernel sees nodes."""
        return self._topology.visible_node(cpu.node)

    def root_of(self, cpu: Cpu) -> PageTablePage:
        """What *cpu* walks."""
        return self.roots[self.node_of(cpu)]

    def all_roots(self) -> Sequence[PageTablePage]:
        return tuple(self.roots.values())

    def nodes_of(self, pages: Sequence[int]) -> int:
        """The nodes that have a table with entries of *pages*, as bits."""
        nodes = 0
        if pages:
            first, last = pages[0], pages[-1]
            for page in range(first - first % SLOTS, last + 1, SLOTS):
                leaf = self._leaf(page)
                if leaf is not None:
                    nodes |= leaf.nodes
        return nodes

    def nodes_with(self, table: PageTablePage) -> int:
        """The nodes that have *table*, which the kernel sees, as bits."""
        return table.nodes if isinstance(table, SharedLeaf) else 0

    def flush(self, cpu: Cpu, pages: Sequence[int], nodes: int, *, freed_tables: bool) -> Steps[None]:
        """Flush *pages*, of which *nodes* had tables when they were cleared or changed."""
        tlb = self._mm.tlb
        if isinstance(tlb, SharersFlush):
            return tlb.flush_on(cpu, pages, nodes, freed_tables=freed_tables)
        return tlb.flush(cpu, pages, freed_tables=freed_tables)

    def _leaf(self, page: int) -> SharedLeaf | None:
        leaf = self._mm.leaf_table(page)
        assert leaf is None or isinstance(leaf, SharedLeaf)
        return leaf

    # -- a table where none is ------------------------------------------------------------------------------

    def ensure(self, cpu: Cpu, page: int) -> Steps[PageTablePage]:
        """The level-1 table of *page*, found in the owner's tree or made there. Raises `OutOfMemory`."""
        leaf = self._leaf(page)
        if leaf is None:
            vma = self._mm.tree.peek(page)
            yield from self._make(cpu, page, self.node_of(cpu) if vma is None else vma.area.node)
            leaf = self._leaf(page)
            assert leaf is not None
        else:
            yield from self._walk(cpu, page, leaf.owner)
        return leaf

    def _walk(self, cpu: Cpu, page: int, node: int) -> Steps[None]:
        """Down the tree of *node* to a level-1 table that is there."""
        table: PageTablePage | None = self.roots[node]
        while table is not None and table.level > 1:
            slot = slot_of(page, table.level)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            table = table.child(slot)

    def _make(self, cpu: Cpu, page: int, owner: int) -> Steps[None]:
        """A level-1 table for *owner*, or for all nodes. Whoever comes second gives his back."""
        mm = self._mm
        nodes = [owner]
        if self.eager:
            nodes += [node for node in self.roots if node != owner]
        parents: dict[int, PageTablePage] = {}
        for node in nodes:
            parents[node] = yield from self._parent(cpu, page, node)
        frames = yield from self._new_pages(cpu, nodes)
        seen, slot = self._seen(page, 2), slot_of(page, 2)
        lock = mm.table_lock(seen)  # mappings of two owners may need the same table
        yield from lock.acquire(cpu)
        if self._leaf(page) is None:
            leaf: SharedLeaf | None = None
            for (node, parent), frame in zip(parents.items(), frames, strict=True):
                table = self._table(cpu, 1, page, frame)
                if leaf is None:
                    leaf = SharedLeaf(mm.machine, page, node, table, self._cost.follow)
                table.lock = mm.table_lock(leaf)
                yield from mm.stat.inc_nr_ptes(cpu)
                yield from parent.line(slot).store(cpu, PAGE_TABLE)
                parent.set(slot, table)
                leaf.copies[node] = table
            assert leaf is not None
            seen.set(slot, leaf)
            frames = []
        yield from lock.release(cpu)
        yield from self._give_back(cpu, frames)

    def _parent(self, cpu: Cpu, page: int, node: int) -> Steps[PageTablePage]:
        """The level-2 table of *page* in the tree of *node*, with what is missing on the way to it."""
        mm, table = self._mm, self.roots[node]
        while table.level > 2:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            if child is None:
                frames = yield from self._new_pages(cpu, [node])
                yield from mm.page_table_lock.acquire(cpu)
                child = table.child(slot)
                if child is None:
                    child = self._table(cpu, table.level - 1, page, frames.pop())
                    if child.level < 4:
                        yield from mm.stat.inc_nr_ptes(cpu)
                    yield from table.line(slot).store(cpu, PAGE_TABLE)
                    table.set(slot, child)
                    self._seen(page, child.level)
                yield from mm.page_table_lock.release(cpu)
                yield from self._give_back(cpu, frames)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            table = child
        return table

    def _seen(self, page: int, level: int) -> PageTablePage:
        """The table of *level* in what the kernel sees, which is made where none is."""
        mm, table = self._mm, self._mm.root
        while table.level > level:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            if child is None:
                child = PageTablePage(
                    mm.machine, table.level - 1, page, NO_FRAME, table.home, maker=table.meta.owner
                )
                table.set(slot, child)
            table = child
        return table

    def _new_pages(self, cpu: Cpu, nodes: Sequence[int]) -> Steps[list[int]]:
        """A page of zeros on each of *nodes*. Raises `OutOfMemory`."""
        mm = self._mm
        frames: list[int] = []
        pages = mm.pages
        assert isinstance(pages, PageAllocator)
        for node in nodes:
            cpu.work(mm.cost.table_alloc, PAGE_TABLE)
            try:
                frame = yield from pages.allocate_on(cpu, node)
            except OutOfMemory:
                yield from self._give_back(cpu, frames)
                raise
            frames.append(frame)
            yield from mm.machine.memory.clear_page(cpu, mm.pages.node(cpu, frame), frame)
            if cpu.heard:
                cpu.probe.frame_filled(cpu, frame, None)
            yield from mm.kernel.charges.charge_kmem(cpu, frame, mm.memcg)
        return frames

    def _give_back(self, cpu: Cpu, frames: Sequence[int]) -> Steps[None]:
        for frame in frames:
            yield from self._mm.kernel.charges.uncharge_kmem(cpu, frame)
            yield from self._mm.pages.free(cpu, frame)

    def _table(self, cpu: Cpu, level: int, page: int, frame: int) -> PageTablePage:
        home = self._topology.socket_of_node(self._mm.pages.node(cpu, frame))
        return PageTablePage(self._mm.machine, level, page, frame, home, maker=cpu.id)

    # -- an entry that another node has ---------------------------------------------------------------------

    def copy_in(self, cpu: Cpu, vma: Vma, page: int, write: bool) -> Steps[bool]:
        """try_lazy_repl: the entry of *page*, in the locked *vma*, for the node of *cpu*, if it serves the
        fault.

        Value: whether it does. Raises `OutOfMemory`.
        """
        leaf, node = self._leaf(page), self.node_of(cpu)
        if leaf is None or node == leaf.owner or self.eager:
            return False
        cpu.work(self._cost.look, PAGE_TABLE)
        yield from self._walk(cpu, page, leaf.owner)
        lock, slot = self._mm.table_lock(leaf), slot_of(page, 1)
        yield from lock.acquire(cpu)
        yield from leaf.line(slot).read(cpu, PAGE_TABLE)
        serves = _serves(leaf, slot, write)
        yield from lock.release(cpu)
        if not serves:
            return False
        pages = range(page, page + 1)
        if node not in leaf.copies:
            made = yield from self._add_copy(cpu, leaf, page, node)
            if made:
                pages = self._around(vma, page)
        copy = leaf.copies[node]
        yield from lock.acquire(cpu)
        for first in range(pages[0] - pages[0] % PTES_PER_LINE, pages[-1] + 1, PTES_PER_LINE):
            slots = range(
                slot_of(max(first, pages[0]), 1), slot_of(min(first + PTES_PER_LINE - 1, pages[-1]), 1) + 1
            )
            if first != page - page % PTES_PER_LINE:
                yield from leaf.line(slots[0]).read(cpu, PAGE_TABLE)
            yield from copy.line(slots[0]).store(cpu, PAGE_TABLE)
            for each in slots:
                copy.set(each, leaf.get(each))
        yield from lock.release(cpu)
        return True

    def _around(self, vma: Vma, page: int) -> range:
        """The pages whose entries a new table begins with, *page* among them."""
        first = page - page % self._prefetch
        return range(max(first, vma.start), min(first + self._prefetch, vma.end))

    def _add_copy(self, cpu: Cpu, leaf: SharedLeaf, page: int, node: int) -> Steps[bool]:
        """__repl_pte_alloc: an empty table for *node*, linked behind the owner's. Value: whether it was this
        cpu that made it."""
        mm = self._mm
        parent = yield from self._parent(cpu, page, node)
        frames = yield from self._new_pages(cpu, [node])
        slot, lock = slot_of(page, 2), mm.table_lock(parent)
        yield from lock.acquire(cpu)
        made = node not in leaf.copies
        if made:
            table = self._table(cpu, 1, page, frames.pop())
            table.lock = mm.table_lock(leaf)
            yield from mm.stat.inc_nr_ptes(cpu)
            yield from parent.line(slot).store(cpu, PAGE_TABLE)
            parent.set(slot, table)
            yield from leaf.meta.write(cpu, PAGE_TABLE)  # cmpxchg of next_replica
            leaf.copies[node] = table
        yield from lock.release(cpu)
        yield from self._give_back(cpu, frames)
        return made

    # -- a table that goes ----------------------------------------------------------------------------------

    def unlink(self, cpu: Cpu, seen: PageTablePage, page: int, gather: Gather) -> Steps[None]:
        """*seen*, which *page* was looked up in, is no table of any node any more; they go to *gather*."""
        mm = self._mm
        for node, root in self.roots.items():
            parent: PageTablePage | None = root
            while parent is not None and parent.level > seen.level + 1:
                parent = parent.child(slot_of(page, parent.level))
            if parent is None or (table := parent.child(slot_of(page, parent.level))) is None:
                continue
            yield from parent.line(slot_of(page, parent.level)).store(cpu, PAGE_TABLE)
            parent.set(slot_of(page, parent.level), None)
            gather.unlinked(table, page)
            gather.nodes |= 1 << node
            cpu.work(mm.cost.table_free, PAGE_TABLE)
            if table.level < 4:
                yield from mm.stat.dec_nr_ptes(cpu)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """Each node's tables are those that the kernel sees, and say what those do or nothing yet."""
        for seen in self._mm.root.tables():
            if not isinstance(seen, SharedLeaf):
                continue
            for node, copy in seen.copies.items():
                if self.roots[node].deepest(seen.base) is not copy:
                    yield f"{seen!r} has a table on node {node} that is not in its tree"
                lazily = not self.eager and node != seen.owner
                for slot, (its, entry) in enumerate(zip(copy.entries, seen.entries, strict=True)):
                    if its is not entry and not (lazily and its is None):
                        yield f"page {seen.base + slot:#x} is {its} on node {node} and {entry} for the kernel"
        for node, root in self.roots.items():
            for table in root.tables():
                if table.level == 1:
                    leaf = self._leaf(table.base)
                    if leaf is None or leaf.copies.get(node) is not table:
                        yield f"{table!r} of node {node} is not known to the kernel"


def _serves(leaf: SharedLeaf, slot: int, write: bool) -> bool:
    entry = leaf.get(slot)
    return isinstance(entry, Present) and entry.allows(write)
