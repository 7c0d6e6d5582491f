"""The red-black tree and the list of VMAs (mm/mmap.c, up to 6.0): the VMAs are the nodes.

Each step of a search reads the line of one VMA, and each store writes those of the VMAs on its way whose
links, colour or gap change. Nothing is allocated, and nobody may look without mmap_lock.

    find       the cache (`vmacache`) | down the tree, a VMA's line a level
    a new VMA  down the tree | list: both neighbours | gaps up the tree | rotations
    search     down by rb_subtree_gap; each VMA looked at needs the end of the one before it too

Left out: until 3.7 a search for a gap went down from the place of the last one (free_area_cache), VMA by VMA.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma_indexes.augmented import LEFT, RIGHT, AugmentedTree, Node
from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.designs.linux.vma_indexes.vmacache import FindCache, MmapCache, VmaCache
from sim.engine import Steps
from sim.hardware import Cpu

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma


class RbTree(VmaIndex):
    """mm_rb and mmap, and the cache of what was found last: one for each thread (3.15 to 6.0).

    *root_line* is the line of mm_struct with the root, the list's head and what the cache keeps there.
    """

    __slots__ = ("_cache", "_nodes", "_tree")

    rcu_safe: ClassVar[bool] = False
    cache: ClassVar[type[FindCache]] = VmaCache

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        super().__init__(site, cpu)
        self._tree = AugmentedTree()
        self._nodes: dict[Vma, Node] = {}
        self._cache = self.cache(self.root_line, site.cost)

    def destroy(self, cpu: Cpu) -> Steps[None]:
        self._starts.clear()
        self._vmas.clear()
        self._nodes.clear()
        self._tree = AugmentedTree()
        self._cache = self.cache(self.root_line, self._cost)
        return
        yield

    # -- searching ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        cached = yield from self._cache.find(cpu, page)
        if cached is not None:
            return cached
        yield from self.find_place(cpu, page)
        found = self.peek(page)
        closest = found or self.around(page)[1]
        if closest is not None:
            yield from self._cache.update(cpu, page, closest)
        return found

    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        yield from self.root_line.read(cpu, VMA_WORK)
        for node in self._tree.path(page):
            yield from self._look(cpu, node)

    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """unmapped_area_topdown: at a VMA all gaps above it have been looked at, right subtrees first."""
        yield from self.root_line.read(cpu, VMA_WORK)
        highest = top - pages
        if floor > highest:
            return None
        tree = self._tree
        if tree.last is None or tree.last.vma.end <= highest:  # highest_vm_end
            return highest
        node = tree.root
        assert node is not None
        yield from self._look(cpu, node)
        if node.gap < pages:
            return None
        came_up = False
        while True:
            start = yield from self._end_before(cpu, node)
            right, left = node.links[RIGHT], node.links[LEFT]
            if not came_up and start <= highest and right is not None:
                yield from self._look(cpu, right)
                if right.gap >= pages:
                    node = right
                    continue
            came_up = False
            end = node.vma.start
            if end < floor + pages:
                return None
            if start <= highest and end - start >= pages:
                return min(end, top) - pages
            if left is not None:
                yield from self._look(cpu, left)
                if left.gap >= pages:
                    node = left
                    continue
            while not came_up:
                below, above = node, node.parent
                if above is None:
                    return None
                yield from self._look(cpu, above)
                node, came_up = above, above.links[RIGHT] is below

    def _look(self, cpu: Cpu, node: Node) -> Steps[None]:
        cpu.work(self._cost.tree_node, VMA_WORK)
        yield from node.vma.line.read(cpu, VMA_WORK)

    def _end_before(self, cpu: Cpu, node: Node) -> Steps[int]:
        """vm_end_gap of vm_prev."""
        if node.before is None:
            return 0
        yield from node.before.vma.line.read(cpu, VMA_WORK)
        return node.before.vma.end

    # -- storing --------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        self._tree.begin()
        self._link(vma)
        yield from self._carry_out(cpu)

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """dup_mmap keeps the place of the next one (rb_link, rb_parent): nobody looks for it."""
        return self.insert(cpu, vma)

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        self._tree.begin()
        self._unlink(vma)
        yield from self._carry_out(cpu)
        yield from self._cache.invalidate(cpu, vma)

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        """__vma_adjust."""
        tree, node = self._tree, self._nodes[vma]
        tree.begin()
        for each in absorbed:
            self._unlink(each)
        self._starts[bisect_right(self._starts, vma.start) - 1] = start
        vma.reach(start, end)
        tree.gap_changed(node)
        tree.gap_changed(node.after)
        yield from self._carry_out(cpu)
        for each in absorbed:
            yield from self._cache.invalidate(cpu, each)

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        """No gap changes: the two lie side by side before and after."""
        self._tree.begin()
        self._starts[bisect_right(self._starts, upper.start) - 1] = at
        lower.end = at
        upper.reach(at, upper.end)
        self._tree.gap_changed(self._nodes[upper])
        yield from self._carry_out(cpu)

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        """__insert_vm_struct, which looks for the place by itself."""
        yield from self.find_place(cpu, upper.start)
        self._tree.begin()
        vma.end = upper.start
        self._link(upper)
        yield from self._carry_out(cpu)

    def _link(self, vma: Vma) -> None:
        self._list(vma)
        node = self._nodes[vma] = Node(vma)
        self._tree.insert(node)

    def _unlink(self, vma: Vma) -> None:
        self._unlist(vma)
        self._tree.remove(self._nodes.pop(vma))

    def _carry_out(self, cpu: Cpu) -> Steps[None]:
        """Take the time of what the tree has done since `begin`."""
        tree, cost = self._tree, self._cost
        cpu.work(cost.tree_store + tree.rotations * cost.tree_split, VMA_WORK)
        read, written, root_changed = tree.read, tree.written, tree.root_changed
        for node in read:
            if node not in written:
                yield from node.vma.line.read(cpu, VMA_WORK)
        for node in written:
            yield from node.vma.line.store(cpu, VMA_WORK)
        if root_changed:
            yield from self.root_line.store(cpu, VMA_WORK)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        yield from self._tree.contradictions()
        if [node.vma for node in self._tree.in_order()] != self._vmas:
            yield "the tree holds other VMAs than the list, or in another order"
        node, listed = self._tree.last, []
        while node is not None:
            listed.append(node.vma)
            node = node.before
        if listed[::-1] != self._vmas:
            yield "vm_prev does not lead from the last VMA to the first"
        yield from self._cache.contradictions(self._vmas)


class MmapCacheRbTree(RbTree):
    """The same with one cached VMA for all threads (up to 3.14)."""

    __slots__ = ()

    cache: ClassVar[type[FindCache]] = MmapCache
