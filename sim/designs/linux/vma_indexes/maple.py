"""The maple tree that indexes VMAs (lib/maple_tree.c, 6.13): what its searches and stores do on a cpu.

`maple_store` says what becomes of the nodes. While others may look (RCU mode) a store either writes slots and
pivots of a leaf in place, or fills new nodes, swings one slot of the node above, and marks the old ones dead,
which RCU frees.

Each node is 256 bytes, four cache lines that move together. The order of VMAs is one sorted list beside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.designs.linux.vma_indexes.maple_balance import split
from sim.designs.linux.vma_indexes.maple_nodes import (
    END,
    INNER_CHILDREN,
    LEAF_RANGES,
    LEAST_CHILDREN,
    LEAST_RANGES,
    Change,
    Node,
    Path,
    path_to,
)
from sim.designs.linux.vma_indexes.maple_store import Kind, Store
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, LineSpan
from sim.mm import OutOfMemory

if TYPE_CHECKING:
    from sim.designs.linux.slab import Lines, SlabObject
    from sim.designs.linux.vma import Vma

_NODE_LINES: Final = 4


class MapleTree(VmaIndex):
    """VMAs by address. What walks nodes is a generator that runs on the calling cpu.

    Stores change the sorted list at once, when the new nodes are published.
    """

    __slots__ = ("_cache", "_preallocation", "_rcu", "_root", "_slab_cost", "_spare")

    rcu_safe: ClassVar[bool] = True
    has_nodes: ClassVar[bool] = True

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        super().__init__(site, cpu)
        self._rcu = site.rcu
        assert site.slabs.maple_node is not None
        self._cache = site.slabs.maple_node
        self._slab_cost = site.slabs.cost
        self._spare: list[SlabObject] = []
        self._preallocation = site.preallocation
        self._root = self._empty_root(cpu)

    def _empty_root(self, cpu: Cpu) -> Node:
        """The first node of a process lies in no object, for nobody waits for a process to be made."""
        root = Node(leaf=True, entries=[(None, END)])
        root.line = self._machine.line("maple node", cpu.socket, owner=cpu.id, lines=_NODE_LINES)
        return root

    def nodes(self) -> int:
        return sum(node.memory is not None for node in self._root.below())

    def lines(self) -> Iterator[CacheLine]:
        yield from super().lines()
        for node in self._root.below():
            yield from node.line.lines if isinstance(node.line, LineSpan) else (node.line,)

    # -- searching ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """mas_walk."""
        yield from self._walk(cpu, page)
        return self.peek(page)

    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        yield from self._walk(cpu, page)

    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """mas_empty_area_rev.

        The kernel goes down by the widest gap below each node, which inner nodes keep; so does this.
        """
        start = self._highest(self._root, 0, pages, floor, top)
        yield from self._walk(cpu, floor if start is None else start)
        return start

    def _highest(self, node: Node, low: int, pages: int, floor: int, top: int) -> int | None:
        if _widest(node, low) < pages:
            return None
        for slot in range(len(node.slots) - 1, -1, -1):
            start = node.ends[slot - 1] if slot else low
            if start >= top:
                continue
            end = min(node.ends[slot], top)
            if end - floor < pages:
                break
            if not node.leaf:
                found = self._highest(node.slots[slot], start, pages, floor, top)
                if found is not None:
                    return found
            elif node.slots[slot] is None and end - max(start, floor) >= pages:
                return end - pages
        return None

    def _walk(self, cpu: Cpu, page: int) -> Steps[None]:
        """Read the nodes from the root to the leaf of *page*."""
        yield from self.root_line.read(cpu, VMA_WORK)
        node = self._root
        while True:
            cpu.work(self._cost.tree_node, VMA_WORK)
            yield from node.line.read(cpu, VMA_WORK)
            if node.leaf:
                return
            node = node.slots[node.find(page)]

    # -- storing --------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._walk(cpu, vma.start)
        yield from self._store(cpu, vma.start, vma.end, vma, lambda: self._list(vma))

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._walk(cpu, vma.start)
        yield from self._store(cpu, vma.start, vma.end, None, lambda: self._unlist(vma))

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        yield from self._walk(cpu, start)

        def reach() -> None:
            for each in (vma, *absorbed):
                self._unlist(each)
            vma.reach(start, end)
            self._list(vma)

        yield from self._store(cpu, start, end, vma, reach)

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        """The one that grows is stored over a part of the other."""
        yield from self._walk(cpu, min(at, upper.start))
        grows, start, end = (lower, lower.start, at) if at > upper.start else (upper, at, upper.end)

        def move() -> None:
            self._starts[bisect_right(self._starts, upper.start) - 1] = at
            lower.end = at
            upper.reach(at, upper.end)

        yield from self._store(cpu, start, end, grows, move)

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        yield from self._walk(cpu, upper.start)

        def part() -> None:
            vma.end = upper.start
            self._list(upper)

        yield from self._store(cpu, upper.start, upper.end, upper, part)

    def _store(
        self, cpu: Cpu, start: int, end: int, entry: Vma | None, publish: Callable[[], object]
    ) -> Steps[None]:
        """mas_preallocate, mas_store_prealloc and mas_destroy: *entry*, or nothing, over [start, end).

        *publish* tells the sorted list of it. Raises `OutOfMemory`, with nothing changed.
        """
        store = Store(self._root, start, end, entry)
        yield from self._take_spare(cpu, self._needed(store, entry))
        gaps = [_widest(place.node, place.low) for place in store.path]
        if store.kind is Kind.SLOT:
            leaf = store.path[-1].node
            entries = store.entries()
            cpu.work(self._cost.tree_slot, VMA_WORK)
            yield from leaf.line.store(cpu, VMA_WORK)
            leaf.slots, leaf.ends = [slot for slot, _ in entries], [at for _, at in entries]
            publish()
            self._forget_gaps(store.path)
            yield from self._tell_gaps(cpu, store.path, gaps)
        else:
            cpu.work(self._cost.tree_store, VMA_WORK)
            yield from self._replace(cpu, store.path, store.change(), publish, gaps)
        if self._spare:
            yield from self._free_spare(cpu)

    def _needed(self, store: Store, entry: Vma | None) -> int:
        """How many nodes are allocated before anything is changed.

        A store that takes a VMA out is none that must not fail (vma_iter_clear_gfp): it allocates what it
        needs, in all releases.
        """
        if entry is not None and self._preallocation == "worst":
            return 3 * len(store.path) + 1
        if entry is not None and self._preallocation == "estimate":
            return store.nodes_estimated()
        return store.nodes()

    def _replace(
        self, cpu: Cpu, path: Path, change: Change, publish: Callable[[], object], gaps: list[int]
    ) -> Steps[None]:
        """Fill the new nodes, make the tree point to them, mark the old ones dead."""
        cpu.work(change.levels * self._cost.tree_split, VMA_WORK)
        for node in change.old:
            if node is not path[-1].node:
                yield from node.line.read(cpu, VMA_WORK)
        for node in change.new:
            node.memory = yield from self._memory(cpu)
            node.line = node.memory.whole
        above = path[: change.depth]
        self._point_to(change.top, above)
        publish()
        self._forget_gaps(above)
        yield from (above[-1].node.line if above else self.root_line).store(cpu, VMA_WORK)
        made = set(map(id, change.new))
        for node in change.new:
            for child in node.children:
                if id(child) not in made:  # mas_adopt_children: each knows its parent
                    yield from child.line.store(cpu, VMA_WORK)
        for node in change.old:
            yield from self._bury(cpu, node.line, node.memory)
        if len(above) > 1:
            yield from self._tell_gaps(cpu, above, gaps)

    def _point_to(self, top: Node, above: Path) -> None:
        if above:
            above[-1].node.slots[above[-1].slot] = top
        else:
            self._root = top

    def _forget_gaps(self, path: Path) -> None:
        for place in path:
            place.node.gap = None

    def _tell_gaps(self, cpu: Cpu, path: Path, before: list[int]) -> Steps[None]:
        """mas_update_gap: the nodes above the last of *path* keep the widest gap below them, which has
        changed from *before* up to some height."""
        for depth in range(len(path) - 1, 0, -1):
            if _widest(path[depth].node, path[depth].low) == before[depth]:
                break
            yield from path[depth - 1].node.line.store(cpu, VMA_WORK)

    # -- fork and exit --------------------------------------------------------------------------------------

    def expect(self, cpu: Cpu, count: int) -> Steps[None]:
        """mas_expected_entries: nodes for so many VMAs with gaps between, and leaves that are not full."""
        leaves = -(-(2 * count + 1) // (LEAF_RANGES - 2))
        yield from self._take_spare(cpu, leaves + -(-leaves // (INNER_CHILDREN - 2)) + 3)

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """vma_iter_bulk_store (until 6.7): nodes are changed in place, nobody reads them (mt_clear_in_rcu).

        What is split is old at once, and serves again.
        """
        store = Store(self._root, vma.start, vma.end, vma, readers=False)
        entries = store.entries()
        cpu.work(self._cost.tree_append, VMA_WORK)
        self._list(vma)
        self._forget_gaps(store.path)
        if store.kind is not Kind.SPLIT:
            leaf = store.path[-1].node
            leaf.slots, leaf.ends = [slot for slot, _ in entries], [at for _, at in entries]
            return
        change = split(store.path, entries, in_order=True)
        cpu.work(change.levels * self._cost.tree_split, VMA_WORK)
        for node in change.new:
            node.memory = yield from self._memory(cpu)
            node.line = node.memory.whole
        self._point_to(change.top, store.path[: change.depth])
        self._spare += [node.memory for node in change.old if node.memory is not None]
        yield from self.root_line.store(cpu, VMA_WORK)

    def settle(self, cpu: Cpu) -> Steps[None]:
        """mas_destroy. The last leaf has enough: six ranges stay in it when the one before is split off."""
        yield from self._free_spare(cpu)

    def duplicate(self, cpu: Cpu, other: VmaIndex) -> Steps[None]:
        """__mt_dup (since 6.8): each node is copied as it is, so it stays as full as it was."""
        assert isinstance(other, MapleTree)
        yield from other.root_line.read(cpu, VMA_WORK)
        self._root = yield from self._copy(cpu, other._root)
        yield from self.root_line.store(cpu, VMA_WORK)

    def _copy(self, cpu: Cpu, node: Node) -> Steps[Node]:
        """mas_dup_build: *node* and all below it. Its VMAs are put in by `replace`."""
        yield from node.line.read(cpu, VMA_WORK)
        cpu.work(self._cost.tree_copy, VMA_WORK)
        copy = Node(node.leaf, [(None, end) for end in node.ends])
        copy.memory = yield from self._memory(cpu)
        copy.line = copy.memory.whole
        for slot, child in enumerate(node.children):
            copy.slots[slot] = yield from self._copy(cpu, child)
        return copy

    def replace(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """mas_store over the same range: one slot of the leaf is written, in place."""
        self._list(vma)
        path = path_to(self._root, vma.start)
        path[-1].node.slots[path[-1].slot] = vma
        self._forget_gaps(path)
        cpu.work(self._cost.tree_replace, VMA_WORK)
        return
        yield

    def destroy(self, cpu: Cpu) -> Steps[None]:
        """__mt_destroy, when no reader is left (mt_clear_in_rcu)."""
        self._starts.clear()
        self._vmas.clear()
        going, self._root = list(self._root.below()), self._empty_root(cpu)
        yield from self._free_spare(cpu)
        for node in going:
            if node.memory is not None:
                cpu.work(self._slab_cost.free, VMA_WORK)
                yield from self._cache.release(cpu, node.memory, now=True)

    # -- memory ---------------------------------------------------------------------------------------------

    def _take_spare(self, cpu: Cpu, count: int) -> Steps[None]:
        """mas_alloc_nodes, or `OutOfMemory`. The first node is in the cost of the store."""
        try:
            while len(self._spare) < count:
                self._spare.append((yield from self._cache.alloc(cpu)))
                if len(self._spare) > 1:
                    cpu.work(self._slab_cost.alloc, VMA_WORK)
        except OutOfMemory:
            yield from self._free_spare(cpu)
            raise

    def _free_spare(self, cpu: Cpu) -> Steps[None]:
        """mas_destroy: give back what was preallocated and is left."""
        while self._spare:
            cpu.work(self._slab_cost.free, VMA_WORK)
            yield from self._cache.release(cpu, self._spare.pop(), now=True)

    def _memory(self, cpu: Cpu) -> Steps[SlabObject]:
        """A node to fill."""
        memory = self._spare.pop() if self._spare else (yield from self._cache.alloc(cpu))
        yield from memory.whole.store(cpu, VMA_WORK)
        return memory

    def _bury(self, cpu: Cpu, line: Lines, memory: SlabObject | None) -> Steps[None]:
        """mte_set_node_dead, mas_free: readers may still be in the node, so RCU frees it."""
        if memory is None:
            yield from line.store(cpu, VMA_WORK)
            return
        yield from memory.head.store(cpu, VMA_WORK)
        cpu.work(self._rcu.call_cost, VMA_WORK)
        yield from self._cache.release(cpu, memory)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """The nodes hold the VMAs of the list, each over its range, are as full as they should be, and know
        their gaps (mt_validate)."""
        yield from super().contradictions()
        held: list[tuple[int, int, Vma]] = []
        depths: set[int] = set()

        def visit(node: Node, depth: int, low: int) -> Iterator[str]:
            gap, node.gap = node.gap, None
            widest = _widest(node, low)
            if gap is not None and gap != widest:
                yield f"a maple node at {low:#x} keeps a gap of {gap} pages and has one of {widest}"
            root, last = node is self._root, node.ends[-1] == END
            least = 2 if root and not node.leaf else 1
            if not root and not last:
                least = LEAST_RANGES if node.leaf else LEAST_CHILDREN
            if not least <= len(node.slots) <= node.room:
                yield f"the maple node at {low:#x} has {len(node.slots)} slots, not {least} to {node.room}"
            if node.leaf and node.slots[-1] is None and not last:
                yield f"the leaf at {low:#x} ends with a gap"
            if node.leaf:
                depths.add(depth)
            start = low
            for slot, end in node.entries:
                if end <= start:
                    yield f"a slot of the maple node at {low:#x} ends at {end:#x}, where it begins or before"
                if not node.leaf:
                    if slot.ends[-1] != end:
                        yield f"a maple node ends at {slot.ends[-1]:#x} and hangs where {end:#x} is the end"
                    yield from visit(slot, depth + 1, start)
                elif slot is not None:
                    held.append((start, end, slot))
                start = end

        yield from visit(self._root, 0, 0)
        if held != [(vma.start, vma.end, vma) for vma in self._vmas]:
            yield f"the leaves hold {len(held)} VMAs, and these are not the {len(self._vmas)} of the list"
        if len(depths) > 1:
            yield f"leaves lie {sorted(depths)} nodes deep"


def _widest(node: Node, low: int) -> int:
    """The widest gap below *node*, which begins at *low*."""
    if node.gap is None:
        widest, start = 0, low
        slots = node.slots
        for index, end in enumerate(node.ends):
            if not node.leaf:
                child: Node = slots[index]
                gap = _widest(child, start) if child.gap is None else child.gap
            elif slots[index] is None:
                gap = end - start
            else:
                gap = 0
            if gap > widest:
                widest = gap
            start = end
        node.gap = widest
        return widest
    return node.gap
