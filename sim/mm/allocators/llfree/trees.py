"""The trees of one node: how many frames of each are free, and which of them a core has for itself.

    word of a tree    free frames that no core has reserved, and whether a core has | many in one line, shared
    local of a core   the tree that it has reserved, its own count of it, and where it last found a frame

    get    local -= pages | lower level: entry, bits
    put    lower level    | local += pages, if it is the core's own tree; else the tree's word += pages
           three frees in a row to a tree that has some left: the core reserves that one

    the local count is used up
        others have given frames back to the tree   word -> 0, local += that                     (sync)
        not enough of them                          lock the local | search a tree, reserve its word
                                                    | swap the local | the old tree's word += rest (swap)
        there is none                               take all cores' trees away from them, search again
        nor then                                    take the block from whoever has it           (steal)
    the tree has frames enough, but no run of them  word += pages, and as above, free trees first

A core that runs dry looks near its last tree first, for trees that are partly used, so that free ones stay
free. A free tree is one with all but 1024 frames, and one with 1024 or less is used up.

Source: luhsra/llfree-rs at d176e83, core/src/upper/array.rs and mod.rs; the last step at 441c8d1,
core/src/llfree.rs (d176e83 gives up there).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm.allocators.llfree.lower import AREA, HUGE_ORDER, ROW_ORDER, Lower
from sim.mm.allocators.pooled import ALLOCATE, NONE, Part, whole_blocks
from sim.mm.frame_table import Pool
from sim.mm.frames import MAX_ORDER, Buddy

if TYPE_CHECKING:
    from sim.engine.costs import AtClock
    from sim.mm.allocators.spec import LlfreeSpec

_USED_UP: Final = 1 << MAX_ORDER
"""A tree with so many free frames is not worth reserving."""
_TRIES: Final = 16
"""How often a get begins again (CAS_RETRIES)."""
_IN_A_ROW: Final = 3
"""After so many frees to one tree a core reserves it (the first parameter of Array3C32)."""


class Local:
    """What a core has reserved: *tree* (`NONE`: nothing), *free* frames of it, and from which frame on the
    next is looked for. *locked*: another tree is being searched for it. *last* is the tree of its last frees,
    *row* how many there were."""

    __slots__ = ("free", "history", "last", "line", "locked", "row", "start", "tree")

    def __init__(self, line: CacheLine, history: CacheLine) -> None:
        self.line = line
        self.history = history
        self.tree = NONE
        self.free = 0
        self.start = 0
        self.locked = False
        self.last = NONE
        self.row = 0


class Trees(Part):
    """LLFree over *memory*, for so many cores; where there are fewer trees than cores, some share a local."""

    __slots__ = (
        "_base",
        "_cost",
        "_home",
        "_machine",
        "_of_tree",
        "_rmw",
        "_word_lines",
        "free",
        "locals",
        "lower",
        "reserved",
    )

    def __init__(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[LlfreeSpec]
    ) -> None:
        super().__init__(f"the trees of node {node}", memory)
        self._machine = machine
        self._home = home
        self._cost = cost
        self._rmw = machine.fabric.rmw
        usable = whole_blocks(memory)
        self._base = usable.start
        self.lower = Lower(machine, f"node {node}", home, len(usable), cost)
        children = self.lower.children
        self._of_tree = children << HUGE_ORDER
        areas = self.lower.areas
        self.free = [min(children, areas - first) * AREA for first in range(0, areas, children)]
        """The words of the trees: what no core has of them."""
        self.reserved = [False] * len(self.free)
        self._word_lines: dict[int, CacheLine] = {}
        cores = max(1, min(len(machine.cpus), len(self.free)))
        self.locals = [
            Local(
                machine.line(f"tree of core {core} on node {node}", home, owner=machine.cpus[core].id),
                machine.line(f"frees of core {core} on node {node}", home, owner=machine.cpus[core].id),
            )
            for core in range(cores)
        ]

    @property
    def free_frames(self) -> int:
        return sum(self.free) + sum(local.free for local in self.locals)

    def local_of(self, cpu: Cpu) -> Local:
        """What *cpu* has reserved, with others of its like where there are few trees."""
        return self.locals[cpu.id % len(self.locals)]

    # -- atomics --------------------------------------------------------------------------------------------

    def _word_line(self, tree: int) -> CacheLine:
        number = tree // self._cost.words_per_line
        line = self._word_lines.get(number)
        if line is None:
            first = number * self._cost.words_per_line
            line = self._machine.line(f"trees from {first} on of {self.lower._title}", self._home)
            self._word_lines[number] = line
        return line

    # -- taking ---------------------------------------------------------------------------------------------

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        pages = 1 << order
        local = self.local_of(cpu)
        cpu.work(self._cost.huge_get if order >= HUGE_ORDER else self._cost.get, ALLOCATE)
        for _ in range(_TRIES):
            if not local.line.exclusive_to(cpu):
                yield from local.line.write(cpu, ALLOCATE)
            else:
                cpu.stall(self._rmw, ALLOCATE)
            tree = local.tree
            if tree != NONE and local.free >= pages:
                local.free -= pages
                at = yield from self.lower.get(cpu, local.start, order)
                if at != NONE:
                    if order < ROW_ORDER and at >> ROW_ORDER != local.start >> ROW_ORDER:
                        yield from self._goes_on_at(cpu, local, at)
                    return self._base + at
                yield from self._word_line(tree).write(cpu, ALLOCATE)
                self.free[tree] += pages
                found = yield from self._reserve(cpu, local, order, free_first=True)
            elif tree != NONE and (yield from self._sync(cpu, local)):
                continue
            else:
                found = yield from self._reserve(cpu, local, order, free_first=False)
            if not found:
                break
        return (yield from self._steal(cpu, order))

    def _goes_on_at(self, cpu: Cpu, local: Local, frame: int) -> Steps[None]:
        """The next search begins in the row of *frame*, if that is still the core's tree."""
        if local.line.exclusive_to(cpu):
            cpu.stall(self._rmw, ALLOCATE)
        else:
            yield from local.line.write(cpu, ALLOCATE)
        if frame // self._of_tree == local.tree:
            local.start = frame

    def _sync(self, cpu: Cpu, local: Local) -> Steps[bool]:
        """What others have given back to the core's tree is the core's. Value: it was worth it."""
        tree = local.tree
        line = self._word_line(tree)
        yield from line.read(cpu, ALLOCATE)
        if local.tree != tree or local.free + self.free[tree] <= _USED_UP:
            return False
        yield from line.write(cpu, ALLOCATE)
        if not self.reserved[tree]:
            return True
        found, self.free[tree] = self.free[tree], 0
        yield from local.line.write(cpu, ALLOCATE)
        if local.tree == tree:
            local.free += found
            return True
        yield from line.write(cpu, ALLOCATE)
        self.free[tree] += found
        return True

    # -- reserving ------------------------------------------------------------------------------------------

    def _reserve(self, cpu: Cpu, local: Local, order: int, *, free_first: bool) -> Steps[bool]:
        """Reserve another tree, or wait while another cpu does so for the same core. Value: False where none
        has a block left."""
        if local.locked:
            while local.locked:
                cpu.stall(self._cost.pause, ALLOCATE)
                yield from local.line.read(cpu, ALLOCATE)
                if cpu.pending:
                    yield cpu.take_pending()
            return True
        local.locked = True
        yield from local.line.write(cpu, ALLOCATE)
        cpu.work(self._cost.reserve, ALLOCATE)
        near = local.tree
        if near == NONE:
            near = len(self.free) // len(self.locals) * self.locals.index(local)
        tree = NONE
        for free in (free_first, not free_first):
            if tree == NONE:
                tree = yield from (self._search_free(cpu, near) if free else self._search_near(cpu, near))
        if tree == NONE:
            tree = yield from self._search(cpu, near, range(len(self.free)), 1 << order, NONE)
        if tree == NONE:
            yield from self._drain(cpu)
            tree = yield from self._search(cpu, near, range(len(self.free)), 1 << order, NONE)
        if tree != NONE:
            yield from self._swap(cpu, local, tree)
        local.locked = False
        return tree != NONE

    def _swap(self, cpu: Cpu, local: Local, tree: int) -> Steps[None]:
        """*tree*, whose word is reserved and not yet emptied, is the core's; its old one is nobody's."""
        found, self.free[tree] = self.free[tree], 0
        yield from local.line.write(cpu, ALLOCATE)
        old, rest = local.tree, local.free
        local.tree, local.free, local.start = tree, found, tree * self._of_tree
        if old != NONE:
            yield from self._let_go(cpu, old, rest)

    def _let_go(self, cpu: Cpu, tree: int, rest: int) -> Steps[None]:
        """*tree* is reserved no more, and what was left of it is in its word again."""
        yield from self._word_line(tree).write(cpu, ALLOCATE)
        self.free[tree] += rest
        self.reserved[tree] = False

    def _search_free(self, cpu: Cpu, near: int) -> Steps[int]:
        """Reserve a tree that is all but free (reserve_free)."""
        return self._search(cpu, near, range(len(self.free)), self._of_tree - _USED_UP, NONE)

    def _search_near(self, cpu: Cpu, near: int) -> Steps[int]:
        """Reserve a tree close by, or a partly used one anywhere (reserve_partial).

        Those before and after are looked at in turn, from the beginning of the word's line on.
        """
        trees = len(self.free)
        vicinity = max(1, trees // len(self.locals) // 4)
        start = (near + trees) // self._cost.words_per_line * self._cost.words_per_line
        tree = yield from self._search(cpu, start, _around(1, vicinity), _USED_UP, NONE)
        if tree == NONE:
            most = self._of_tree - _USED_UP
            tree = yield from self._search(cpu, start, _around(vicinity, trees + 1), _USED_UP, most)
        return tree

    def _search(self, cpu: Cpu, start: int, steps: range | list[int], least: int, most: int) -> Steps[int]:
        """Reserve the first tree with *least* free frames or more, and less than *most* if that is given.

        Value: the tree, or `NONE`. Its word keeps the frames until it is swapped in.
        """
        for step in steps:
            tree = (start + step) % len(self.free)
            line = self._word_line(tree)
            if not line.held_by(cpu):
                yield from line.read(cpu, ALLOCATE)
            if not self._fits(tree, least, most):
                cpu.work(self._cost.scan, ALLOCATE)
                continue
            yield from line.write(cpu, ALLOCATE)
            if self._fits(tree, least, most):
                self.reserved[tree] = True
                return tree
        return NONE

    def _fits(self, tree: int, least: int, most: int) -> bool:
        free = self.free[tree]
        return not self.reserved[tree] and free >= least and (most == NONE or free < most)

    def _drain(self, cpu: Cpu) -> Steps[None]:
        """No core has a tree any more, but for those that are about to get another."""
        for local in self.locals:
            if local.locked or local.tree == NONE:
                continue
            yield from local.line.write(cpu, ALLOCATE)
            if not local.locked and local.tree != NONE:
                tree, rest = local.tree, local.free
                local.tree, local.free = NONE, 0
                yield from self._let_go(cpu, tree, rest)

    def _steal(self, cpu: Cpu, order: int) -> Steps[int]:
        """A block of whatever tree has one, without reserving it; or `NONE`."""
        pages = 1 << order
        for tree in range(len(self.free)):
            if self.free[tree] < pages:
                continue
            yield from self._word_line(tree).write(cpu, ALLOCATE)
            if self.free[tree] >= pages:
                self.free[tree] -= pages
                at = yield from self.lower.get(cpu, tree * self._of_tree, order)
                if at != NONE:
                    return self._base + at
                yield from self._word_line(tree).write(cpu, ALLOCATE)
                self.free[tree] += pages
        for local in self.locals:
            if local.tree == NONE or local.free + self.free[local.tree] < pages:
                continue
            tree = local.tree
            yield from local.line.write(cpu, ALLOCATE)
            if local.tree != tree or local.free + self.free[tree] < pages:
                continue
            if local.free < pages:
                found, self.free[tree] = self.free[tree], 0
                local.free += found
                yield from self._word_line(tree).write(cpu, ALLOCATE)
            if local.tree != tree or local.free < pages:
                continue
            local.free -= pages
            at = yield from self.lower.get(cpu, tree * self._of_tree, order)
            if at != NONE:
                return self._base + at
            yield from self._word_line(tree).write(cpu, ALLOCATE)
            self.free[tree] += pages
        return NONE

    # -- giving back ----------------------------------------------------------------------------------------

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        frame -= self._base
        pages = 1 << order
        cpu.work(self._cost.huge_put if order >= HUGE_ORDER else self._cost.put, ALLOCATE)
        yield from self.lower.put(cpu, frame, order)
        tree = frame // self._of_tree
        local = self.local_of(cpu)
        if not local.line.held_by(cpu):
            yield from local.line.read(cpu, ALLOCATE)
        if local.tree == tree:
            if local.line.exclusive_to(cpu):
                cpu.stall(self._rmw, ALLOCATE)
            else:
                yield from local.line.write(cpu, ALLOCATE)
        if local.tree == tree:
            local.free += pages
        else:
            yield from self._word_line(tree).write(cpu, ALLOCATE)
            self.free[tree] += pages
            if not self.reserved[tree] and self.free[tree] > _USED_UP:
                reserved = yield from self._reserve_freed(cpu, local, tree)
                if reserved:
                    return
        yield from self._note_free(cpu, local, tree)

    def _reserve_freed(self, cpu: Cpu, local: Local, tree: int) -> Steps[bool]:
        """The core's last frees were all to *tree*: it reserves that one. Value: whether it did."""
        if local.last != tree or local.row < _IN_A_ROW or local.locked:
            return False
        local.locked = True  # nobody else swaps this core's tree meanwhile
        yield from self._word_line(tree).write(cpu, ALLOCATE)
        won = self._fits(tree, _USED_UP, NONE)
        if won:
            self.reserved[tree] = True
            yield from self._swap(cpu, local, tree)
        local.locked = False
        return won

    def _note_free(self, cpu: Cpu, local: Local, tree: int) -> Steps[None]:
        """Remember that the core has given something back to *tree*."""
        if local.last == tree and local.row >= _IN_A_ROW:
            return
        local.row = local.row + 1 if local.last == tree else 1
        local.last = tree
        if local.history.exclusive_to(cpu):
            cpu.stall(self._rmw, ALLOCATE)
        else:
            yield from local.history.write(cpu, ALLOCATE)

    # -- in no time -----------------------------------------------------------------------------------------

    def get_now(self, cpu: Cpu, order: int) -> int:
        for tree in self._from_own_on(cpu):
            if self._count(tree) >= 1 << order:
                at = self.lower.get_now(tree, order)
                if at != NONE:
                    self._uncount(tree, 1 << order)
                    return self._base + at
        return NONE

    def put_now(self, cpu: Cpu, frame: int, order: int) -> None:
        self.lower.put_now(frame - self._base, order)
        self.free[(frame - self._base) // self._of_tree] += 1 << order

    def get_many(self, cpu: Cpu, frames: int) -> list[int]:
        found: list[int] = []
        while frames - len(found) >= AREA:
            first = self.get_run(cpu, HUGE_ORDER)
            if first == NONE:
                break
            found += range(first, first + AREA)
        return found + super().get_many(cpu, frames - len(found))

    def get_run(self, cpu: Cpu, order: int) -> int:
        if order != HUGE_ORDER:
            return NONE
        for tree in self._from_own_on(cpu):
            if self._count(tree) >= AREA:
                at = self.lower.get_area_now(tree)
                if at != NONE:
                    self._uncount(tree, AREA)
                    return self._base + at
        return NONE

    def boot(self, cpu: Cpu, level: float) -> None:
        """The core has a tree, and its own count of it is somewhere: others have freed the rest."""
        local = self.local_of(cpu)
        if local.tree != NONE:
            return
        for tree in self._from_own_on(cpu):
            if self._fits(tree, _USED_UP, NONE):
                self.reserved[tree] = True
                local.tree, local.start = tree, tree * self._of_tree
                local.free = int(level * self.free[tree])
                self.free[tree] -= local.free
                return

    def _from_own_on(self, cpu: Cpu) -> Iterator[int]:
        """The trees, from that of *cpu* on, or from where it would look for one."""
        number = cpu.id % len(self.locals)
        local = self.locals[number]
        trees = len(self.free)
        first = local.tree if local.tree != NONE else trees // len(self.locals) * number
        for tree in range(first, first + trees):
            yield tree % trees

    def _count(self, tree: int) -> int:
        """Free frames of *tree*, whoever counts them."""
        if not self.reserved[tree]:
            return self.free[tree]
        return self.free[tree] + sum(local.free for local in self.locals if local.tree == tree)

    def _uncount(self, tree: int, pages: int) -> None:
        """So many frames fewer."""
        here = min(pages, self.free[tree])
        self.free[tree] -= here
        for local in self.locals if here < pages else ():
            if local.tree == tree:
                local.free -= pages - here

    # -- the end state --------------------------------------------------------------------------------------

    def pool(self) -> Pool:
        """What the bits say is free, as a buddy would keep it."""
        buddy = Buddy(self.memory.start, len(self.memory))
        lower, entries = self.lower, self.lower.entries
        pairs = [entries[area] == AREA == entries[area + 1] for area in range(0, lower.areas - 1, 2)]
        used = len(pairs) - next((at for at, free in enumerate(reversed(pairs)) if not free), len(pairs))
        blocks = buddy.take(used, MAX_ORDER)
        buddy.free_whole([block for block, free in zip(blocks, pairs, strict=False) if free])
        for number in range(used):
            for area in () if pairs[number] else (2 * number, 2 * number + 1):
                first = self._base + (area << HUGE_ORDER)
                if entries[area] == AREA:
                    buddy.free(first, HUGE_ORDER)
                elif entries[area] > 0:
                    bits = lower.bits.get(area, 0)
                    for at in range(AREA):
                        if not bits >> at & 1:
                            buddy.free(first + at)
        return Pool(self.name, self.memory, buddy)

    def contradictions(self) -> Iterator[str]:
        """Words and locals together count what the entries do; a tree is reserved by at most one core."""
        yield from self.lower.contradictions()
        owned = Counter(local.tree for local in self.locals if local.tree != NONE)
        ours: Counter[int] = Counter()
        for local in self.locals:
            if local.tree != NONE:
                ours[local.tree] += local.free
            if local.locked:
                yield f"{self.name}: a core still looks for a tree"
        for tree, free in enumerate(self.free):
            counted = free + ours[tree]
            if counted != self.lower.free_in(tree):
                yield (
                    f"{self.name}: tree {tree} counts {counted} free frames, and its entries "
                    f"{self.lower.free_in(tree)}"
                )
            if owned[tree] != self.reserved[tree]:
                said = "is reserved" if self.reserved[tree] else "is not reserved"
                yield f"{self.name}: tree {tree} {said}, and {owned[tree]} cores have it"

    def recover(self) -> None:
        """After a crash: entries and words are made of the bits, and no core has a tree. Takes no time."""
        self.lower.recount()
        for local in self.locals:
            local.tree, local.free, local.locked = NONE, 0, False
        for tree in range(len(self.free)):
            self.free[tree] = self.lower.free_in(tree)
            self.reserved[tree] = False


def _around(first: int, stop: int) -> list[int]:
    """Steps before and after a place in turn: of 1, 2, 3, ... they are -1, 1, -2, ..."""
    return [step // 2 if step % 2 == 0 else -(step + 1) // 2 for step in range(first, stop)]
