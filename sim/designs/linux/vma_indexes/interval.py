"""The concurrent interval skip list: an index of VMAs that is a lock of ranges, too (SOSP 2025).

Nodes are disjoint intervals in the order of their addresses; a search reads them without a lock, from the
highest level down. Who changes a range holds the locks of

    pred -> [ touches the range ] -> ... -> [ touches it ] -> next
     ^ the last node that ends before it    ^ all that overlap it or touch it, in ascending order

so that he may replace what he has locked, join it with what is new, and use the gaps at both ends: a gap
belongs to the node before it. What was found without a lock is looked at again once it is locked: if it has
been marked invalid or something has come in between, all is let go and searched anew.

**Arenas.** Each cpu maps in a part of the address space of its own. At its beginning stands a node of full
height that never goes, so a search in an arena begins there and reads nothing that others write. A hint says
where the lowest room may be. A mapping across such a border (MAP_FIXED) makes all searches begin at the head.

Source: T. W. Kim, Y. Kwon, J. Kang, Scalable Address Spaces using Concurrent Interval Skiplist (SOSP 2025),
its abstract and notes, and kaist-cp/interval-vm at 23c1f4a, of which the kernel could not be read. The
predecessor is always locked for a change, where the paper locks it if the range touches a gap or a border: a
node that is replaced is replaced in its link. Where in an arena the hint goes is not said: here up, and back
to where something is unmapped below it.

Simplification: a node's upper links change together with the lowest one; their lines are paid for afterwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.addresses import HIGHEST_PAGE
from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.designs.linux.vma_locks.interval import IntervalNode, IntervalVmaLocks
from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.mm import OutOfMemory
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma
    from sim.hardware import CacheLine, Cpu, Task

_SHARED_LINKS: Final = 2
"""Levels whose links lie in the line of the node's addresses."""


class Arena:
    """The pages [*base*, *end*) that some cpus map in, behind the node *border*. There may be room from
    *hint* on, which lies in *hint_line*."""

    __slots__ = ("base", "border", "end", "hint", "hint_line")

    def __init__(self, base: int, end: int, border: IntervalNode, hint_line: CacheLine) -> None:
        self.base = self.hint = base
        self.end = end
        self.border = border
        self.hint_line = hint_line


class IntervalSkipList(VmaIndex):
    """VMAs by address, each the node that is its lock. *holds* are the nodes that threads have locked, *base*
    is the page from which on mappings go that are anywhere."""

    __slots__ = (
        "_arena_pages",
        "_arenas",
        "_cache",
        "_call_cost",
        "_costs",
        "_crossing",
        "_end",
        "_head",
        "_levels",
        "_locks",
        "_owned",
        "_slab_cost",
        "_top",
        "base",
        "holds",
    )

    rcu_safe: ClassVar[bool] = True

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        super().__init__(site, cpu)
        spec, locks = site.interval, site.locks
        assert spec is not None
        assert isinstance(locks, IntervalVmaLocks)
        assert site.slabs.vma_lock is not None
        locks.index = self
        self._locks = locks
        self._cache = site.slabs.vma_lock
        self._slab_cost = site.slabs.cost
        self._call_cost = site.rcu.call_cost
        self._costs = at_clock(spec.costs, site.machine.spec.plain_clock)
        self._levels = spec.levels
        self.holds: dict[Task, list[IntervalNode]] = {}
        self._crossing = 0  # borders that VMAs reach over
        self._head = self._end = locks.fixed(-1, cpu)
        self._arena_pages = spec.arena_size // PAGE_BYTES
        self._owned = bool(spec.arenas)
        pages = self._arena_pages * max(1, spec.arenas)
        self._top = HIGHEST_PAGE - HIGHEST_PAGE % self._arena_pages
        self.base = self._top - pages
        self._arenas: list[Arena] = []
        if not self._owned:
            self._arenas.append(Arena(self.base, self._top, self._head, self.root_line))
            return
        before = self._head
        for base in range(self.base, self._top + 1, self._arena_pages):
            border = locks.fixed(base, cpu)
            before.next = [border] * self._levels
            before = self._end = border
            if base < self._top:
                line = site.machine.line(f"arena hint of {base:#x}", cpu.socket, owner=cpu.id)
                self._arenas.append(Arena(base, base + self._arena_pages, border, line))

    def lines(self) -> Iterator[CacheLine]:
        yield from super().lines()
        node: IntervalNode | None = self._head
        while node is not None:
            yield from node.lines
            node = node.next[0]

    # -- searching ------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """Query. Who has locked the range knows its nodes."""
        if cpu.current in self.holds:
            return self.peek(page)
        before = yield from self._search(cpu, page, page + 1)
        node = before.next[0]
        return node.vma if node is not None and node.covers(page) else None

    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        if cpu.current not in self.holds:
            yield from self._search(cpu, page, page)

    def _search(self, cpu: Cpu, page: int, limit: int) -> Steps[IntervalNode]:
        """Value: the last node in front of *page* that ends before *limit*, which is that page or the next.

        No grace period ends meanwhile. Raises `ModelError` if it reads a node that was freed nevertheless.
        """
        outer, cpu.preempt_off = cpu.preempt_off, True  # rcu_read_lock
        node = yield from self._descend(cpu, self._entry(page), page, limit)
        cpu.preempt_off = outer
        return node

    def _descend(self, cpu: Cpu, node: IntervalNode, page: int, limit: int) -> Steps[IntervalNode]:
        yield from node.line.read(cpu, VMA_WORK)
        beyond: IntervalNode | None = None
        for level in range(self._levels - 1, -1, -1):
            while True:
                if level >= _SHARED_LINKS:
                    yield from node.tower(level).read(cpu, VMA_WORK)
                after = node.next[level]
                if after is None or after is beyond:
                    break
                cpu.work(self._costs.node, VMA_WORK)
                yield from after.line.read(cpu, VMA_WORK)
                if after.is_given_away:
                    raise ModelError(f"{cpu} reads {after!r}, which was freed and given out again")
                if node.next[level] is not after:
                    continue
                if not after.precedes(page, limit):
                    beyond = after
                    break
                node = after
        return node

    def _entry(self, page: int) -> IntervalNode:
        """Where a search for *page* begins: the border below it, which has all levels."""
        if self._crossing or not self._owned or page < self.base:
            return self._head
        number = (page - self.base) // self._arena_pages
        if number < len(self._arenas):
            return self._arenas[number].border
        return self._end

    # -- locking --------------------------------------------------------------------------------------------

    def lock_range(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """Lock(range), for a change of [start, end)."""
        cpu.work(self._costs.lock, VMA_WORK)
        while True:
            crossing = self._crossing
            before = yield from self._search(cpu, start, start)
            locked = yield from self._lock_from(cpu, before, start, end, crossing)
            if locked:
                return

    def _lock_from(self, cpu: Cpu, before: IntervalNode, start: int, end: int, crossing: int) -> Steps[bool]:
        """Lock *before*, the last node in front of [start, end), and all that meet it. Value: whether they
        still were what they were taken for, when so many borders were *crossing*; if not, none is locked."""
        yield from before.mutex.acquire(cpu)
        held = [before]
        good = self._is_before(before, start, start) and self._entered_well(crossing)
        node = before
        while good:
            after = node.next[0]
            if after is None or not after.meets(end):
                self.holds[cpu.current] = held
                return True
            yield from after.mutex.acquire(cpu)
            held.append(after)
            good = not after.invalid and node.next[0] is after
            node = after
        for each in reversed(held):
            yield from each.mutex.release(cpu)
        return False

    def _is_before(self, node: IntervalNode, page: int, limit: int) -> bool:
        """Whether *node*, which is locked, is what `_search` is to find."""
        after = node.next[0]
        if not node.linked or node.invalid or not node.precedes(page, limit):
            return False
        return after is None or not after.precedes(page, limit)

    def _entered_well(self, crossing: int) -> bool:
        """Whether a search that began when so many borders were *crossing* may have begun at a border."""
        return bool(crossing) or not self._crossing

    def lock_page(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """Lock(range) for a fault: the node of *page*, or the one in whose gap it lies. Value: its VMA."""
        cpu.work(self._costs.lock, VMA_WORK)
        while True:
            crossing = self._crossing
            before = yield from self._search(cpu, page, page + 1)
            found = before.next[0]
            covered = found is not None and found.covers(page)
            node = found if found is not None and covered else before
            yield from node.mutex.acquire(cpu)
            if covered:
                good = node.linked and not node.invalid and node.covers(page)
            else:
                good = self._is_before(node, page, page + 1)
                after = node.next[0]
                good = good and (after is None or not after.covers(page))
            if good and self._entered_well(crossing):
                self.holds[cpu.current] = [node]
                return node.vma if covered else None
            yield from node.mutex.release(cpu)

    def unlock(self, cpu: Cpu) -> Steps[None]:
        """Unlock(range)."""
        for node in self.holds.pop(cpu.current, ()):
            yield from node.mutex.release(cpu)

    def lock_room(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        """Find room for *pages* pages in the arena of *cpu*, from its hint on, and lock it. Value: its first
        page; None if there is none."""
        cpu.work(self._costs.lock, VMA_WORK)
        arena = self._arenas[cpu.id % len(self._arenas)]
        yield from arena.hint_line.read(cpu, VMA_WORK)
        at = arena.hint
        while True:
            crossing = self._crossing
            before = yield from self._search(cpu, at, at)
            low = yield from self._next_gap(cpu, arena, before, at, pages)
            if low is None:
                if at == arena.base:
                    return None
                at = arena.base
                continue
            if self._is_far_from(before, low):
                before = yield from self._search(cpu, low, low)
            locked = yield from self._lock_from(cpu, before, low, low + pages, crossing)
            if not locked:
                continue
            if not self.overlapping(low, low + pages):
                return low
            yield from self.unlock(cpu)

    def _is_far_from(self, node: IntervalNode, low: int) -> bool:
        """Whether there are other nodes between *node* and *low*."""
        after = node.next[0]
        return after is not None and after.precedes(low, low)

    def _next_gap(self, cpu: Cpu, arena: Arena, node: IntervalNode, at: int, pages: int) -> Steps[int | None]:
        """Value: where from *at* on the first gap of *arena* begins that has room for *pages* pages."""
        while True:
            low = max(at, node.last)
            after = node.next[0]
            top = arena.end if after is None else min(arena.end, after.first)
            if top - low >= pages:
                return low
            if after is None or after.first >= arena.end:
                return None
            cpu.work(self._costs.node, VMA_WORK)
            yield from after.line.read(cpu, VMA_WORK)
            node = after

    # -- who has locked everything --------------------------------------------------------------------------

    def empty_area(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """Room in the first arena that has it; only then across borders."""
        for arena in self._arenas:
            found = yield from super().empty_area(cpu, pages, max(floor, arena.base), min(top, arena.end))
            if found is not None:
                return found
        return (yield from super().empty_area(cpu, pages, floor, top))

    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        raise ModelError("an interval skip list is searched for room upwards")

    # -- neighbours: nobody is one across a border, whose lock nobody has ------------------------------------

    def neighbours(self, start: int, end: int) -> tuple[Vma | None, Vma | None]:
        before, after = super().neighbours(start, end)
        return (
            None if before is not None and self._is_border(start) else before,
            None if after is not None and self._is_border(end) else after,
        )

    def _is_border(self, page: int) -> bool:
        inside = self._owned and self.base <= page <= self._top
        return inside and not (page - self.base) % self._arena_pages

    def beside(self, page: int) -> tuple[Vma | None, Vma | None]:
        below, above = super().beside(page)
        if self._crossing or not self._owned:
            return below, above
        low, high = self._borders(page)
        return (
            None if below is None or below.end <= low else below,
            None if above is None or above.start >= high else above,
        )

    def hole(self, start: int, end: int, top: int) -> tuple[int, int]:
        """The gap around [start, end), which is mapped no more, as far as its node reaches."""
        before, after = self.around(start)[0], self.around(end)[1]
        floor, ceiling = (before.end if before else 0), (after.start if after else top)
        return max(floor, self._borders(start)[0]), min(ceiling, self._borders(end - 1)[1])

    def _borders(self, page: int) -> tuple[int, int]:
        """The borders below and above *page*."""
        if not self._owned or page < self.base:
            return 0, self.base if self._owned else HIGHEST_PAGE
        if page >= self._top:
            return self._top, 1 << 62
        low = page - (page - self.base) % self._arena_pages
        return low, low + self._arena_pages

    # -- changing -------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        node = _node_of(vma)
        node.vma = vma
        yield from self._hold_too(cpu, node)
        yield from self.before(vma.start).line.store(cpu, VMA_WORK)
        cpu.work(self._costs.swap, VMA_WORK)
        self._list(vma)
        self._link(node)
        yield from self._pay_upper(cpu, node)
        yield from self._raise_hint(cpu, vma.end)

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        node, start = _node_of(vma), vma.start
        yield from self.before(start).line.store(cpu, VMA_WORK)
        cpu.work(self._costs.swap, VMA_WORK)
        self._unlist(vma)
        self._unlink(node)
        yield from self._pay_upper(cpu, node)
        yield from self._lower_hint(cpu, start)

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        node = _node_of(vma)
        yield from self.before(start).line.store(cpu, VMA_WORK)
        cpu.work(self._costs.swap, VMA_WORK)
        for each in (vma, *absorbed):
            self._unlist(each)
            self._unlink(_node_of(each))
        vma.reach(start, end)
        self._list(vma)
        self._link(node)
        for each in absorbed:
            yield from self._pay_upper(cpu, _node_of(each))
        yield from self._raise_hint(cpu, end)

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        cpu.work(self._costs.swap, VMA_WORK)
        self._unlink(_node_of(lower))
        self._unlink(_node_of(upper))
        self._starts[bisect_right(self._starts, upper.start) - 1] = at
        lower.end = at
        upper.reach(at, upper.end)
        self._link(_node_of(lower))
        self._link(_node_of(upper))
        return
        yield

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        node, lower = _node_of(upper), _node_of(vma)
        node.vma = upper
        yield from self._hold_too(cpu, node)
        cpu.work(self._costs.swap, VMA_WORK)
        yield from lower.line.store(cpu, VMA_WORK)
        self._unlink(lower)
        vma.end = upper.start
        self._link(lower)
        self._list(upper)
        self._link(node)
        yield from self._pay_upper(cpu, node)

    def renew(self, cpu: Cpu, old: IntervalNode) -> Steps[None]:
        """Put a new node in the place of *old*, which is marked: what it says is so, and nobody who has found
        *old* goes on with that. RCU frees *old*.

        Where there is no memory for one, *old* is made valid with another version.
        """
        vma = old.vma
        assert vma is not None
        try:
            memory = yield from self._cache.alloc(cpu)
        except OutOfMemory:
            yield from old.line.store(cpu, VMA_WORK)
            old.invalid = False
            old.version += 1
            return
        cpu.work(self._slab_cost.alloc, VMA_WORK)
        yield from memory.whole.store(cpu, VMA_WORK)
        node = self._locks.new(cpu, vma.start, memory)
        node.vma = vma
        yield from self._hold_too(cpu, node)
        yield from self.before(vma.start).line.store(cpu, VMA_WORK)
        cpu.work(self._costs.swap, VMA_WORK)
        self._unlink(old)
        vma.lock, vma.lock_memory = node, memory
        self._link(node)
        yield from self._pay_upper(cpu, old)
        yield from self._pay_upper(cpu, node)
        if old.memory is not None:
            cpu.work(self._call_cost, VMA_WORK)
            yield from self._cache.release(cpu, old.memory)

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """In a list that nobody else knows, nothing has to be searched or locked."""
        node = _node_of(vma)
        node.vma = vma
        cpu.work(self._costs.swap, VMA_WORK)
        self._list(vma)
        self._link(node)
        return
        yield

    def destroy(self, cpu: Cpu) -> Steps[None]:
        for vma in list(self):
            self._unlist(vma)
            self._unlink(_node_of(vma))
        for arena in self._arenas:
            arena.hint = arena.base
        return
        yield

    def _hold_too(self, cpu: Cpu, node: IntervalNode) -> Steps[None]:
        """A new node comes into the list locked, where its range is."""
        held = self.holds.get(cpu.current)
        if held is not None:
            yield from node.mutex.acquire(cpu)
            held.append(node)

    def _pay_upper(self, cpu: Cpu, node: IntervalNode) -> Steps[None]:
        """The links above the lowest that lead to *node*, or around it, are exchanged (cmpxchg)."""
        if node.height > 1:
            before = self._predecessors(node.first)
            for level in range(1, node.height):
                yield from before[level].tower(level).write(cpu, VMA_WORK)

    def _raise_hint(self, cpu: Cpu, end: int) -> Steps[None]:
        """What was mapped ends at *end*: room is searched for behind it."""
        arena = self._arena_at(end - 1)
        if arena is not None and arena.hint < end <= arena.end:
            yield from arena.hint_line.store(cpu, VMA_WORK)
            arena.hint = end if end < arena.end else arena.base

    def _lower_hint(self, cpu: Cpu, start: int) -> Steps[None]:
        """From *start* on there is room again."""
        arena = self._arena_at(start)
        if arena is not None and start < arena.hint:
            yield from arena.hint_line.store(cpu, VMA_WORK)
            arena.hint = start

    def _arena_at(self, page: int) -> Arena | None:
        if not self.base <= page < self._top:
            return None
        return self._arenas[(page - self.base) // self._arena_pages] if self._owned else self._arenas[0]

    # -- the list itself, at an instant ---------------------------------------------------------------------

    def _predecessors(self, start: int) -> list[IntervalNode]:
        """The last node on each level that begins before *start*. (A border at it comes first.)"""
        node = self._entry(start)
        found = [node] * self._levels
        for level in range(self._levels - 1, -1, -1):
            after = node.next[level]
            while after is not None and (after.first < start or (after.vma is None and after.at == start)):
                node = after
                after = node.next[level]
            found[level] = node
        return found

    def before(self, start: int) -> IntervalNode:
        """In whose gap *start* lies, or what ends there or behind."""
        return self._predecessors(start)[0]

    def _link(self, node: IntervalNode) -> None:
        before = self._predecessors(node.first)
        for level in range(node.height):
            node.next[level] = before[level].next[level]
            before[level].next[level] = node
        node.linked = True
        self._cross(node, node.vma, 1)

    def _unlink(self, node: IntervalNode) -> None:
        """Its links stay, for who stands on it."""
        before = self._predecessors(node.first)
        for level in range(node.height):
            if before[level].next[level] is not node:
                raise ModelError(f"{node!r} is not where it belongs on level {level}")
            before[level].next[level] = node.next[level]
        node.linked = False
        self._cross(node, None, -1)

    def _cross(self, node: IntervalNode, vma: Vma | None, change: int) -> None:
        """Tell the borders that *node* reaches over that its *vma* does, or none does any more."""
        if not self._owned or self._borders(node.first) == self._borders(node.last - 1):
            return
        border: IntervalNode | None = self._head.next[-1]
        while border is not None:
            if node.first < border.at < node.last:
                border.crossed = vma
                self._crossing += change
            border = self._border_behind(border)

    def _border_behind(self, border: IntervalNode) -> IntervalNode | None:
        """The next one: on the highest level there may be other nodes between."""
        after = border.next[-1]
        while after is not None and after.vma is not None:
            after = after.next[-1]
        return after

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        for level in range(self._levels):
            found: list[IntervalNode] = []
            node = self._head.next[level]
            while node is not None:
                if node.mutex.holder is not None:
                    yield f"{node!r} is locked by {node.mutex.holder}"
                if node.vma is not None:
                    found.append(node)
                node = node.next[level]
            if level == 0 and [node.vma for node in found] != self._vmas:
                yield f"the list has {len(found)} nodes, not those of the {len(self._vmas)} VMAs"
            expected = [vma for vma in self._vmas if _node_of(vma).height > level]
            if [node.vma for node in found] != expected:
                yield f"level {level} of the list has {len(found)} nodes, and {len(expected)} are so high"
        if self.holds:
            yield f"{len(self.holds)} threads have ranges locked"


def _node_of(vma: Vma) -> IntervalNode:
    node = vma.lock
    assert isinstance(node, IntervalNode)
    return node
