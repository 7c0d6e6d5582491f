"""A VMA's node in the interval skip list, which is its lock, too (T. W. Kim, Y. Kwon, J. Kang, SOSP 2025).

    node     {start, end, VMA, height, next[height], lock, invalid}

Who changes a VMA holds its node's lock, marks the node invalid before anything changes (`start_write`), and
puts a new node in its place when all has changed (`end_write_all`); RCU frees the old one. So who has found a
node without a lock, and finds it valid still, has found all that it says to be so still: a fault looks for
that once it has the lock of the page table, just before it sets its entry (`still_valid`). What unmaps or
changes rights marks the node first and gets that lock afterwards.

    fault     Query ... | PTL | valid? set the entry | PTL let go
    munmap    lock nodes | mark, take out | PTL | clear entries | ...

The paper's Swap shows the new nodes first and marks the old ones then, both under the locks of the range;
here the new ones are shown when the section ends. A fault in between waits for the lock instead of using the
new node. Which kind of lock a node has is not said; here it is a mutex, since its holder may sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.linux.activities import LOCK_VMA, VMA_WORK
from sim.designs.linux.interval_spec import LINK, NODE_HEADER, IntervalSpec
from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.engine import Activity, Steps
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu, Task
from sim.sync import Mutex

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject
    from sim.designs.linux.vma import Vma
    from sim.designs.linux.vma_indexes.interval import IntervalSkipList

LOCK_INTERVAL: Final = Activity("lock: intervals")

_LINE: Final = 64


class IntervalNode(VmaLock):
    """The node of *vma*, or one at page *at* that never goes and has no VMA: a head, a border of an arena.

    *linked*: it is in the list. *invalid*: it does not say what is so any more, or will not for long.
    *version* counts how often it was made valid again in the same memory. *crossed* is the VMA that reaches
    over a border. *next* has what follows it on each
    of its levels; what followed it last, once it has been taken out.
    """

    __slots__ = (
        "_locks",
        "at",
        "crossed",
        "invalid",
        "line",
        "lines",
        "linked",
        "memory",
        "mutex",
        "next",
        "version",
        "vma",
    )

    def __init__(
        self,
        locks: IntervalVmaLocks,
        at: int,
        height: int,
        memory: SlabObject | None,
        lines: list[CacheLine],
    ) -> None:
        """*lines* are those of the node, from its beginning on."""
        self._locks = locks
        self.lines = lines
        self.at = at
        self.memory = memory
        self.vma: Vma | None = None
        self.crossed: Vma | None = None
        self.next: list[IntervalNode | None] = [None] * height
        self.linked = False
        self.invalid = False
        self.version = 0
        self.line = lines[0]
        self.mutex = locks.new_mutex(at, self.line)

    def __repr__(self) -> str:
        return f"node of {self.vma}" if self.vma is not None else f"node at {self.at:#x}"

    @property
    def is_given_away(self) -> bool:
        """Whether something else lies in its memory by now."""
        return self.memory is not None and self.memory.tenant is not self

    @property
    def height(self) -> int:
        return len(self.next)

    def tower(self, level: int) -> CacheLine:
        """The line with the link of *level*."""
        return self.lines[(NODE_HEADER + level * LINK) // _LINE]

    @property
    def first(self) -> int:
        """Its first page."""
        return self.at if self.vma is None else self.vma.start

    @property
    def last(self) -> int:
        """The page behind its last one."""
        return self.at if self.vma is None else self.vma.end

    def precedes(self, page: int, limit: int) -> bool:
        """Whether it ends before *limit*, which is *page* or, where what touches *page* precedes it, the one
        behind. A border belongs to what is above it, if no VMA reaches over it."""
        if self.vma is not None:
            return self.vma.end < limit
        return self.at <= page and (self.crossed is None or self.crossed.end < limit)

    def meets(self, end: int) -> bool:
        """Whether it, which does not precede a range that ends at *end*, overlaps or touches that."""
        return self.at < end if self.vma is None else self.vma.start <= end

    def covers(self, page: int) -> bool:
        return self.vma is not None and self.vma.start <= page < self.vma.end

    # -- as the lock of a VMA -------------------------------------------------------------------------------

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        """A look, no lock: the fault is to ask `still_valid`."""
        yield from self.line.read(cpu, VMA_WORK)
        if self.invalid or not self.linked:
            return False
        self._locks.sees(cpu, self)
        return True

    def end_read(self, cpu: Cpu) -> Steps[None]:
        self._locks.forgets(cpu)
        return
        yield

    @property
    def is_detached(self) -> bool:
        return self.invalid and not self.linked

    def start_write(self, cpu: Cpu) -> Steps[None]:
        """The invalid mark. The caller holds the node's lock, or all of the space."""
        if self.invalid or not self.linked:
            return
        yield from self.line.store(cpu, LOCK_VMA)
        self.invalid = True
        self._locks.writes(cpu, self)

    @property
    def is_write_locked(self) -> bool:
        return self.invalid or not self.linked

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        return  # `start_write` has said so
        yield

    def contradiction(self) -> str | None:
        if self.vma is None or not self.linked:
            return "has a node that is not in the list"
        if self.invalid:
            return "has an invalid node"
        return None


class IntervalVmaLocks(VmaLocks):
    """The nodes of one process that are being changed, and those that faults look at without a lock.

    *index* is the list that they are nodes of.
    """

    __slots__ = ("_draw", "_seen", "_site", "_spec", "_written", "index")

    separate: ClassVar[bool] = True
    speculates: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        assert site.interval is not None
        self.index: IntervalSkipList | None = None
        self._site = site
        self._spec: IntervalSpec = site.interval
        self._draw = site.machine.engine.stream("heights of interval nodes").random
        self._seen: dict[Task, tuple[IntervalNode, int]] = {}
        self._written: dict[Task, list[IntervalNode]] = {}

    def new_mutex(self, at: int, line: CacheLine) -> Mutex:
        mutex = Mutex(self._site.osq_nodes, line, self._site.scheduler, LOCK_INTERVAL)
        mutex.name = f"interval lock of {at:#x}"
        return mutex

    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> IntervalNode:
        """A node of a height drawn for it. Its upper links lie in the lines behind the first."""
        height = 1
        while height < self._spec.levels and self._draw() * self._spec.branching < 1:
            height += 1
        size = NODE_HEADER + self._spec.levels * LINK
        lines = [memory.line(offset) for offset in range(0, size, _LINE)]
        node = memory.tenant = IntervalNode(self, start, height, memory, lines)
        return node

    def fixed(self, at: int, cpu: Cpu) -> IntervalNode:
        """A node of full height, which is a part of the process."""
        machine, name = self._site.machine, f"interval node at {at:#x}"
        size = NODE_HEADER + self._spec.levels * LINK
        lines = [machine.line(name, cpu.socket, owner=cpu.id) for _ in range(0, size, _LINE)]
        node = IntervalNode(self, at, self._spec.levels, None, lines)
        node.linked = True
        return node

    # -- who changes ----------------------------------------------------------------------------------------

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def writes(self, cpu: Cpu, node: IntervalNode) -> None:
        """*cpu* has marked *node*."""
        self._written.setdefault(cpu.current, []).append(node)

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        """Swap: new nodes for those that were marked and have not been taken out."""
        assert self.index is not None
        for node in self._written.pop(cpu.current, ()):
            if node.linked:
                yield from self.index.renew(cpu, node)

    # -- who looks without a lock ---------------------------------------------------------------------------

    def sees(self, cpu: Cpu, node: IntervalNode) -> None:
        """The fault on *cpu* goes on with what *node* says; no grace period ends until it forgets that."""
        cpu.preempt_off = True  # rcu_read_lock
        self._seen[cpu.current] = node, node.version

    def forgets(self, cpu: Cpu) -> None:
        if self._seen.pop(cpu.current, None) is not None:
            cpu.preempt_off = False

    def still_valid(self, cpu: Cpu) -> Steps[bool]:
        """Raises `ModelError` for a node that was freed under the fault's eyes."""
        seen = self._seen.get(cpu.current)
        if seen is None:  # it holds a lock
            return True
        node, version = seen
        yield from node.line.read(cpu, VMA_WORK)
        if node.is_given_away:
            raise ModelError(f"{cpu} reads {node!r}, which was freed and given out again")
        return not node.invalid and node.version == version
