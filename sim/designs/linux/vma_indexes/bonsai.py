"""The tree of Bonsai (ASPLOS 2012): VMAs in a balanced tree that readers walk without a lock.

    reader   load the root | a node's line a level | the VMA: all of one version of the tree
    writer   find the path | allocate and fill new nodes | store the root | old nodes: free later (RCU)

A reader may find a VMA that has left meanwhile, or whose ends have changed: it has to look again
(`vma_locks/recheck.py`). Writers hold mmap_lock for writing. The list of VMAs stays as it was, under
mmap_lock.

What the kernel's patch for 2.6.37 does otherwise is not known: its node layout, its weights, and that it
changes a tree in place where no reader can tell. The paper has path copying as the rule.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma_indexes import balanced
from sim.designs.linux.vma_indexes.balanced import Node, Update
from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import OutOfMemory

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma


class BonsaiTree(VmaIndex):
    """*root_line* is the line of mm_struct with the root and the head of the list."""

    __slots__ = ("_cache", "_root", "_slab_cost")

    rcu_safe: ClassVar[bool] = True
    has_nodes: ClassVar[bool] = True

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        super().__init__(site, cpu)
        assert site.slabs.maple_node is not None
        self._cache = site.slabs.maple_node
        self._slab_cost = site.slabs.cost
        self._root: Node | None = None

    def nodes(self) -> int:
        return balanced.size_of(self._root)

    # -- searching ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """In the version of the tree that the root shows when it is loaded."""
        yield from self.root_line.read(cpu, VMA_WORK)
        if cpu.pending:
            yield cpu.take_pending()
        found: Vma | None = None
        for node in balanced.path_to(self._root, page):
            yield from self._look(cpu, node)
            found = node.vma
        return found if found is not None and found.start <= page < found.end else None

    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        yield from self.root_line.read(cpu, VMA_WORK)
        for node in balanced.path_to(self._root, page):
            yield from self._look(cpu, node)

    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """arch_get_unmapped_area_topdown goes from VMA to VMA; what it reads is taken to be the way to what
        it finds, for it begins where the last search has ended (free_area_cache)."""
        end = top
        for vma in reversed(self._vmas[: bisect_right(self._starts, top - 1)]):
            if end - max(vma.end, floor) >= pages:
                break
            end = min(end, vma.start)
            if end - floor < pages:
                break
        below = self.peek(end - 1) or self.around(end)[0]
        low = max(floor, min(below.end, end) if below is not None else floor)
        found = end - pages if end - low >= pages else None
        yield from self.find_place(cpu, floor if found is None else found)
        return found

    def _look(self, cpu: Cpu, node: Node) -> Steps[None]:
        """Read a node and the ends of its VMA. What lies there is what the reader goes by."""
        memory = node.memory
        if memory is not None:
            cpu.work(self._cost.tree_node, VMA_WORK)
            yield from memory.whole.read(cpu, VMA_WORK)
            yield from node.vma.line.read(cpu, VMA_WORK)
        if memory is None or memory.tenant is not node or not memory.is_live:
            raise ModelError(f"{cpu} looks at a node of {node.vma} that is not written yet, or freed already")

    # -- storing --------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self.find_place(cpu, vma.start)
        update = Update()
        root = update.insert(self._root, vma)
        yield from self._fill(cpu, update)
        self._list(vma)
        yield from self._swing(cpu, root, update)
        yield from self._link(cpu, vma)

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self.find_place(cpu, vma.start)
        update = Update()
        root = update.remove(self._root, vma)
        yield from self._fill(cpu, update)
        yield from self._link(cpu, vma)
        self._unlist(vma)
        yield from self._swing(cpu, root, update)

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        """The ends of *vma* change in place: its key keeps its rank. Neighbours that it absorbs go first, as
        readers must not find two VMAs for a page."""
        for each in absorbed:
            yield from self.remove(cpu, each)
        self._starts[bisect_right(self._starts, vma.start) - 1] = start
        vma.reach(start, end)
        yield from vma.line.store(cpu, VMA_WORK)

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        """In place."""
        self._starts[bisect_right(self._starts, upper.start) - 1] = at
        lower.end = at
        upper.reach(at, upper.end)
        yield from lower.line.store(cpu, VMA_WORK)
        yield from upper.line.store(cpu, VMA_WORK)

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        """*upper* is stored before *vma* ends where it begins: a reader finds the one or the other."""
        yield from self.find_place(cpu, upper.start)
        update = Update()
        root = update.insert(self._root, upper)
        yield from self._fill(cpu, update)
        vma.end = upper.start
        self._list(upper)
        yield from vma.line.store(cpu, VMA_WORK)
        yield from self._swing(cpu, root, update)
        yield from self._link(cpu, upper)

    def destroy(self, cpu: Cpu) -> Steps[None]:
        """No reader is left."""
        self._starts.clear()
        self._vmas.clear()
        root, self._root = self._root, None
        for node in list(balanced.in_order(root)):
            assert node.memory is not None
            cpu.work(self._slab_cost.free, VMA_WORK)
            node.memory.tenant = None
            yield from self._cache.release(cpu, node.memory, now=True)

    def _fill(self, cpu: Cpu, update: Update) -> Steps[None]:
        """Allocate and write the nodes that are made. Raises `OutOfMemory`, with nothing changed."""
        cpu.work(self._cost.tree_store, VMA_WORK)
        filled: list[Node] = []
        try:
            for node in update.made:
                node.memory = yield from self._cache.alloc(cpu)
                filled.append(node)
                if len(filled) > 1:
                    cpu.work(self._slab_cost.alloc, VMA_WORK)
                yield from node.memory.whole.store(cpu, VMA_WORK)
                node.memory.tenant = node
        except OutOfMemory:
            for node in filled:
                assert node.memory is not None
                node.memory.tenant = None
                yield from self._cache.release(cpu, node.memory, now=True)
            raise
        if cpu.pending:
            yield cpu.take_pending()

    def _swing(self, cpu: Cpu, root: Node | None, update: Update) -> Steps[None]:
        """Store the new root, and let go of what only the old tree has."""
        yield from self.root_line.store(cpu, VMA_WORK)
        self._root = root
        for node in update.gone:
            assert node.memory is not None
            cpu.work(self._slab_cost.free, VMA_WORK)
            yield from self._cache.release(cpu, node.memory)

    def _link(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """vm_next and vm_prev of the neighbours in the list."""
        for other in (self.around(vma.start)[0], self.around(vma.start + 1)[1]):
            if other is not None:
                yield from other.line.store(cpu, VMA_WORK)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        yield from balanced.contradictions(self._root)
        if [node.vma for node in balanced.in_order(self._root)] != self._vmas:
            yield "the tree holds other VMAs than the list, or in another order"
        for node in balanced.in_order(self._root):
            if node.memory is None or node.memory.tenant is not node:
                yield f"the node of {node.vma} lies in no memory of its own"
