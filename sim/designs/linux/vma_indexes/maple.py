"""The maple tree that indexes VMAs (lib/maple_tree.c, 6.13): nodes that are copied where their ranges change.

A leaf holds up to 16 ranges, gaps included; an inner node up to 10 children. In RCU mode a store
(mas_wr_store_type)

    leaves as many ranges as there were     writes them in place: a gap filled, a boundary moved
    makes more of them, or fewer            writes a new copy of the leaf and swings the parent's slot
    overfills the leaf, or empties it       splits it, or joins its neighbour; the parent is copied, too

Each node is 256 bytes, four cache lines that move together.

The tree here has the nodes, their lines and their occupancy. The order of VMAs is one sorted list beside it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, ClassVar

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import OutOfMemory

if TYPE_CHECKING:
    from sim.designs.linux.slab import Lines, SlabObject
    from sim.designs.linux.vma import Vma

LEAF_RANGES = 16
INNER_CHILDREN = 10
LEAST_RANGES = 6
LEAST_CHILDREN = 4
"""What a node has to have (mt_min_slots)."""
_NODE_LINES = 4


class _Node:
    """A leaf: *low* is the first page it covers, *vmas* those that start in it. An inner node: *children*.

    *gap* is the widest gap before one of the VMAs below, None until it is asked for. *memory* is the object
    that it lies in; the first node of a process has none, for nobody waits for a process to be made.
    """

    __slots__ = ("children", "gap", "line", "low", "memory", "vmas")

    def __init__(self, line: Lines, low: int, memory: SlabObject | None) -> None:
        self.line = line
        self.memory = memory
        self.low = low
        self.vmas: list[Vma] = []
        self.children: list[_Node] = []
        self.gap: int | None = None

    @property
    def ranges(self) -> int:
        """Slots in use: VMAs and the gaps between them."""
        used, at = 0, self.low
        for vma in self.vmas:
            used += 1 + (vma.start > at)
            at = vma.end
        return used + 1


class MapleTree(VmaIndex):
    """VMAs by address. What walks nodes is a generator that runs on the calling cpu.

    Stores change the sorted list at once, when the leaf's copy is published.
    """

    __slots__ = ("_cache", "_rcu", "_root", "_slab_cost", "_spare", "_worst")

    rcu_safe: ClassVar[bool] = True
    has_nodes: ClassVar[bool] = True

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        super().__init__(site, cpu)
        self._rcu = site.rcu
        assert site.slabs.maple_node is not None
        self._cache = site.slabs.maple_node
        self._slab_cost = site.slabs.cost
        self._spare: list[SlabObject] = []
        self._worst = site.worst
        self._root = self._empty_root(cpu)

    def _empty_root(self, cpu: Cpu) -> _Node:
        line = self._machine.line("maple node", cpu.socket, owner=cpu.id, lines=_NODE_LINES)
        return _Node(line, 0, None)

    def nodes(self) -> int:
        def count(node: _Node) -> int:
            return (node.memory is not None) + sum(map(count, node.children))

        return count(self._root)

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
        start = self._highest(self._root, pages, floor, top)
        above = max(self._vmas[-1].end if self._vmas else 0, floor)
        if top - above >= pages:
            start = top - pages
        yield from self._walk(cpu, floor if start is None else start)
        return start

    def _highest(self, node: _Node, pages: int, floor: int, top: int) -> int | None:
        if self._widest(node) < pages:
            return None
        for child in reversed(node.children):
            if (start := self._highest(child, pages, floor, top)) is not None:
                return start
        for vma in reversed(node.vmas):
            end = min(vma.start, top)
            if end - max(self._end_before(vma), floor) >= pages:
                return end - pages
        return None

    def _widest(self, node: _Node) -> int:
        if node.gap is None:
            if node.children:
                node.gap = max(map(self._widest, node.children))
            else:
                node.gap = max((vma.start - self._end_before(vma) for vma in node.vmas), default=0)
        return node.gap

    def _end_before(self, vma: Vma) -> int:
        """Where the VMA below *vma* ends."""
        index = bisect_right(self._starts, vma.start) - 2
        return self._vmas[index].end if index >= 0 else 0

    def _gaps_changed(self, page: int) -> None:
        """mas_update_gap: what lies around *page* has changed, up to the VMA behind it."""
        behind = bisect_right(self._starts, page)
        for each in (page, *self._starts[behind : behind + 1]):
            for node in self._path(each):
                node.gap = None

    # -- storing --------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._walk(cpu, vma.start)
        below, above = self._around(vma.start)
        if below == vma.start and above == vma.end:  # wr_exact_fit
            yield from self._preallocate_in_place(cpu, vma.start)
            gaps = self._widest_on_path(vma.start)
            self._link(vma)
            yield from self._change(cpu, vma.start, gaps)
            yield from self._free_spare(cpu)
            return
        yield from self._preallocate(cpu, vma.start, ranges=2)
        path = self._link(vma)
        self._spread(vma)
        yield from self._publish(cpu, path)

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """vma_iter_bulk_store (until 6.7): nodes are changed in place, nobody reads them (mt_clear_in_rcu).

        A full node keeps as much as it can when it splits (MA_STATE_BULK): the next VMAs come behind it.
        """
        if self._path(vma.start)[-1].ranges + 2 > LEAF_RANGES:
            yield from self._preallocate(cpu, vma.start, ranges=2)
        path = self._link(vma)
        self._spread(vma)
        cpu.work(self._cost.tree_append, VMA_WORK)
        if path[-1].ranges > LEAF_RANGES:
            yield from self._divide(cpu, path, in_order=True)
        yield from self._free_spare(cpu)

    def duplicate(self, cpu: Cpu, other: VmaIndex) -> Steps[None]:
        """__mt_dup (since 6.8): each node is copied as it is, so it stays as full as it was."""
        assert isinstance(other, MapleTree)
        yield from other.root_line.read(cpu, VMA_WORK)
        yield from self._duplicate(cpu, other._root, None)
        yield from self.root_line.store(cpu, VMA_WORK)

    def _duplicate(self, cpu: Cpu, node: _Node, parent: _Node | None) -> Steps[None]:
        """mas_dup_build: *node* below *parent*, and all below it. Its VMAs are put in by `replace`."""
        yield from node.line.read(cpu, VMA_WORK)
        cpu.work(self._cost.tree_copy, VMA_WORK)
        copy = yield from self._new_node(cpu, node.low)
        if parent is None:
            self._root = copy
        else:
            parent.children.append(copy)
        for child in node.children:
            yield from self._duplicate(cpu, child, copy)

    def replace(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """mas_store over the same range: one slot of the leaf is written, in place."""
        self._link(vma)
        cpu.work(self._cost.tree_replace, VMA_WORK)
        return
        yield

    def destroy(self, cpu: Cpu) -> Steps[None]:
        """__mt_destroy, when no reader is left (mt_clear_in_rcu)."""
        self._starts.clear()
        self._vmas.clear()
        going, self._root = [self._root], self._empty_root(cpu)
        while going:
            node = going.pop()
            going += node.children
            if node.memory is not None:
                cpu.work(self._slab_cost.free, VMA_WORK)
                yield from self._cache.release(cpu, node.memory, now=True)

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._walk(cpu, vma.start)
        below, above = self._around(vma.start)
        if below == vma.start and above == vma.end:  # wr_exact_fit
            gaps = self._widest_on_path(vma.start)
            self._unlink(vma)
            yield from self._change(cpu, vma.start, gaps)
            return
        yield from self._preallocate(cpu, vma.start, gone=1)
        yield from self._publish(cpu, self._unlink(vma))

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        yield from self._walk(cpu, start)
        below, above = self._around(vma.start)
        if not absorbed and (above is None or end < above) and (start == vma.start or below < start):
            yield from self._preallocate_in_place(cpu, vma.start)
            yield from self._stretch(cpu, vma, start, end)
            yield from self._free_spare(cpu)
            return
        yield from self._preallocate(cpu, vma.start, ranges=1, gone=1 + len(absorbed))
        left = [self._unlink(each)[-1] for each in (vma, *absorbed)]
        vma.reach(start, end)
        self._link(vma)
        for leaf in dict.fromkeys(left):
            if not leaf.vmas:
                yield from self._unite(cpu, self._path(leaf.low))
        self._spread(vma)
        yield from self._publish(cpu, self._path(start))

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        yield from self._walk(cpu, min(at, upper.start))
        yield from self._preallocate_in_place(cpu, lower.start)
        gaps = self._widest_on_path(lower.start)
        for node in self._path(upper.start):
            node.low = min(node.low, at)
        self._starts[bisect_right(self._starts, upper.start) - 1] = at
        lower.end = at
        upper.reach(at, upper.end)
        self._spread(lower)
        yield from self._change(cpu, lower.start, gaps)  # wr_slot_store
        yield from self._free_spare(cpu)

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        yield from self._walk(cpu, upper.start)
        yield from self._preallocate(cpu, vma.start, ranges=1)
        vma.end = upper.start
        yield from self._publish(cpu, self._link(upper))

    def _stretch(self, cpu: Cpu, vma: Vma, start: int, end: int) -> Steps[None]:
        """wr_slot_store: *vma* takes a part of the gap before or behind it."""
        gaps = self._widest_on_path(vma.start)
        self._unlink(vma)
        vma.reach(start, end)
        self._link(vma)
        self._spread(vma)
        yield from self._change(cpu, start, gaps)

    def _around(self, page: int) -> tuple[int, int | None]:
        """In the leaf of *page*: where the VMA before the one that begins there ends, or the leaf begins, and
        where the one behind it begins; None: there is none."""
        leaf = self._path(page)[-1]
        starts = [vma.start for vma in leaf.vmas]
        first, behind = bisect_left(starts, page), bisect_right(starts, page)
        return (
            leaf.vmas[first - 1].end if first else leaf.low,
            leaf.vmas[behind].start if behind < len(leaf.vmas) else None,
        )

    def _link(self, vma: Vma) -> list[_Node]:
        """Put *vma* into the leaf of its first page; returns the path."""
        self._list(vma)
        path = self._path(vma.start)
        leaf = path[-1]
        leaf.vmas.insert(bisect_right([other.start for other in leaf.vmas], vma.start), vma)
        self._gaps_changed(vma.start)
        return path

    def _spread(self, vma: Vma) -> None:
        """Let what comes behind the leaf of *vma* begin where *vma* ends, at the earliest."""
        for node in self._path(vma.end - 1):
            if node.low > vma.start:
                node.low = vma.end

    def _unlink(self, vma: Vma) -> list[_Node]:
        """Take *vma* out of its leaf; returns the path, the leaf may be empty now."""
        self._unlist(vma)
        path = self._path(vma.start)
        path[-1].vmas.remove(vma)
        self._gaps_changed(vma.start)
        return path

    def _change(self, cpu: Cpu, page: int, gaps: list[int]) -> Steps[None]:
        """Write slots and pivots of the leaf of *page* in place, and in the nodes above it the widest gap
        below them, as far as it has changed from *gaps* (mas_update_gap)."""
        path = self._path(page)
        cpu.work(self._cost.tree_slot, VMA_WORK)
        yield from path[-1].line.store(cpu, VMA_WORK)
        for parent, child, before in zip(path[-2::-1], path[:0:-1], gaps[:0:-1], strict=True):
            if self._widest(child) == before:
                break
            yield from parent.line.store(cpu, VMA_WORK)

    def _widest_on_path(self, page: int) -> list[int]:
        return [self._widest(node) for node in self._path(page)]

    def _publish(self, cpu: Cpu, path: list[_Node]) -> Steps[None]:
        """Write the leaf's copy, make the tree point to it, mark the old leaf dead."""
        leaf = path[-1]
        cpu.work(self._cost.tree_store, VMA_WORK)
        yield from self._replace(cpu, leaf)
        if leaf.ranges > LEAF_RANGES:
            yield from self._divide(cpu, path)
        elif not leaf.vmas and len(path) > 1:
            yield from self._unite(cpu, path)
        elif len(path) > 1:
            yield from path[-2].line.store(cpu, VMA_WORK)
        else:
            yield from self.root_line.store(cpu, VMA_WORK)
        if self._spare:
            yield from self._free_spare(cpu)

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """The nodes hold the VMAs of the list, each in its leaf, are not overfull and know their gaps."""
        yield from super().contradictions()
        held: list[Vma] = []
        depths: set[int] = set()

        def visit(node: _Node, depth: int, low: int, high: float) -> Iterator[str]:
            gap, node.gap = node.gap, None
            if gap is not None and gap != self._widest(node):
                yield f"a maple node at {low:#x} keeps a gap of {gap} pages and has one of {node.gap}"
            if node.low != low:
                yield f"a maple node covers {node.low:#x} on and hangs where {low:#x} begins"
            if not node.children:
                depths.add(depth)
                held.extend(node.vmas)
                if not all(low <= vma.start and vma.end <= high for vma in node.vmas):
                    yield f"the leaf at {low:#x} has VMAs outside of its range: {node.vmas}"
                if node.ranges > LEAF_RANGES:
                    yield f"the leaf at {low:#x} has {node.ranges} ranges"
                return
            if len(node.children) > INNER_CHILDREN:
                yield f"the maple node at {low:#x} has {len(node.children)} children"
            for child, following in zip_longest(node.children, node.children[1:]):
                yield from visit(child, depth + 1, child.low, high if following is None else following.low)

        yield from visit(self._root, 0, 0, inf)
        if held != self._vmas:
            yield f"the leaves hold {len(held)} VMAs, and these are not the {len(self._vmas)} of the list"
        if len(depths) > 1:
            yield f"leaves lie {sorted(depths)} nodes deep"

    # -- nodes ----------------------------------------------------------------------------------------------

    def _preallocate(self, cpu: Cpu, page: int, *, ranges: int = 0, gone: int = 0) -> Steps[None]:
        """mas_preallocate: the nodes that a store at *page* may need, before anything is changed.

        A leaf with at most *ranges* more is copied, or split if that is too many for it; one that loses
        *gone* VMAs is copied, or joined with its neighbour if it has no others. Until 6.5 it was as many as a
        spanning store needs; but a store that takes a VMA out allocated what it needed (mas_store_gfp). The
        first node is in the cost of the store.
        """
        path = self._path(page)
        height, leaf = len(path), path[-1]
        if gone > 1 or (self._worst and ranges):
            count = 3 * height + 1  # a spanning store
        elif leaf.ranges + ranges > LEAF_RANGES:
            count = 2 * height + 1
        elif gone and len(leaf.vmas) <= gone:
            count = max(1, 2 * height - 1)
        else:
            count = 1
        yield from self._take_spare(cpu, count)

    def _preallocate_in_place(self, cpu: Cpu, page: int) -> Steps[None]:
        """mas_preallocate before a store in place, which needs no node."""
        if self._worst:
            yield from self._take_spare(cpu, 3 * len(self._path(page)) + 1)

    def _take_spare(self, cpu: Cpu, count: int) -> Steps[None]:
        """mas_alloc_nodes, or `OutOfMemory`."""
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

    def _new_node(self, cpu: Cpu, low: int) -> Steps[_Node]:
        memory = yield from self._memory(cpu)
        return _Node(memory.whole, low, memory)

    def _replace(self, cpu: Cpu, node: _Node) -> Steps[None]:
        """A new copy stands for *node*; the old one is marked dead, for readers that are still in it, and
        goes."""
        memory = yield from self._memory(cpu)
        old_line, old = node.line, node.memory
        node.line, node.memory = memory.whole, memory
        yield from self._bury(cpu, old_line, old)

    def _bury(self, cpu: Cpu, line: Lines, memory: SlabObject | None) -> Steps[None]:
        """mte_set_node_dead, mas_free: readers may still be in the node, so RCU frees it."""
        if memory is None:
            yield from line.store(cpu, VMA_WORK)
            return
        yield from memory.head.store(cpu, VMA_WORK)
        cpu.work(self._rcu.call_cost, VMA_WORK)
        yield from self._cache.release(cpu, memory)

    def _path(self, page: int) -> list[_Node]:
        node = self._root
        path = [node]
        while node.children:
            node = node.children[max(0, bisect_right([child.low for child in node.children], page) - 1)]
            path.append(node)
        return path

    def _walk(self, cpu: Cpu, page: int) -> Steps[None]:
        """Read the nodes from the root to the leaf of *page*."""
        yield from self.root_line.read(cpu, VMA_WORK)
        for node in self._path(page):
            cpu.work(self._cost.tree_node, VMA_WORK)
            yield from node.line.read(cpu, VMA_WORK)

    def _divide(self, cpu: Cpu, path: list[_Node], *, in_order: bool = False) -> Steps[None]:
        """Split a full leaf, and full nodes above it; *in_order*: more will come behind (mab_calc_split)."""
        for depth in range(len(path) - 1, -1, -1):
            node = path[depth]
            if (node.children and len(node.children) <= INNER_CHILDREN) or (
                not node.children and node.ranges <= LEAF_RANGES
            ):
                break
            cpu.work(self._cost.tree_split, VMA_WORK)
            root = None if depth else (yield from self._new_node(cpu, 0))
            right = yield from self._cut(cpu, node, _last(node) if in_order else _half(node))
            node.gap = None
            if root is None:
                parent = path[depth - 1]
                parent.children.insert(parent.children.index(node) + 1, right)
                yield from (parent.line.store(cpu, VMA_WORK) if in_order else self._replace(cpu, parent))
            else:
                root.children = [node, right]
                self._root = root
        yield from self.root_line.store(cpu, VMA_WORK)

    def _cut(self, cpu: Cpu, node: _Node, at: int) -> Steps[_Node]:
        """Take what *node* has from *at* on into a new one."""
        right = yield from self._new_node(cpu, 0)
        if node.children:
            right.low = node.children[at].low
            right.children, node.children = node.children[at:], node.children[:at]
        else:
            right.low = node.vmas[at].start
            right.vmas, node.vmas = node.vmas[at:], node.vmas[:at]
        return right

    def _unite(self, cpu: Cpu, path: list[_Node]) -> Steps[None]:
        """Remove an empty leaf; the one before takes its range, or the first leaf of all the one after."""
        cpu.work(self._cost.tree_split, VMA_WORK)
        for depth in range(len(path) - 1, 0, -1):
            node, parent = path[depth], path[depth - 1]
            if node.vmas or node.children:
                break
            index = parent.children.index(node)
            parent.children.remove(node)
            parent.gap = None
            if index == 0 and parent.children:
                parent.children[0].low = node.low
                _lower(parent.children[0])
            yield from self._bury(cpu, node.line, node.memory)
            yield from self._replace(cpu, parent)
        old = self._root
        if len(path) > 1 and not old.children:
            self._root = yield from self._new_node(cpu, 0)
            yield from self._bury(cpu, old.line, old.memory)
        while len(self._root.children) == 1:
            old = self._root
            self._root = old.children[0]
            yield from self._bury(cpu, old.line, old.memory)
        yield from self.root_line.store(cpu, VMA_WORK)


def _half(node: _Node) -> int:
    return len(node.children or node.vmas) // 2


def _last(node: _Node) -> int:
    """Where a full node is cut so that what comes behind has the least that a node may have."""
    if node.children:
        return len(node.children) - LEAST_CHILDREN
    ranges, at = 1, len(node.vmas)
    while ranges < LEAST_RANGES:
        at -= 1
        ranges += 1 + (at > 0 and node.vmas[at].start > node.vmas[at - 1].end)
    return at


def _lower(node: _Node) -> None:
    """Carry a node's new lower bound to its first descendants."""
    while node.children:
        node.children[0].low = node.low
        node = node.children[0]
