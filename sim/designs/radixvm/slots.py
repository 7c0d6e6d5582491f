"""What is in a slot of the tree, and the lock bit that each slot has.

A leaf's slot is a page's descriptor (struct vmdesc). A slot above leads to a node, is empty, or has one
descriptor for all pages that it covers (an *external*, memory of its own). Slots side by side share a line:
a descriptor with the set of cores that have the page takes a whole one.

Source: aclements/sv6 at 9271b3f, include/vm.hh, include/radix_array.hh, include/bit_spinlock.hh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import READ, WRITE, Rights
from sim.quantities import LINE_BYTES
from sim.sync import Lock, releases, takes

if TYPE_CHECKING:
    from sim.designs.radixvm.refcache import Counted

TREE: Final = Activity("radix tree")
LOCK_SLOT: Final = Activity("lock: slot")

_POINTER: Final = 8
"""Bytes of a slot above the leaves."""
_USER_BITS: Final = 35
"""Bits of a page's number in user memory (USERTOP / PGSIZE)."""
ALL_PAGES: Final = 1 << _USER_BITS


class Geometry:
    """How the bits of a page's number are shared out to levels, by the bytes of a node and of a leaf's slot.

    *top* is the level above all nodes, whose one slot covers all of user memory.
    """

    __slots__ = ("_leaf_bits", "_leaf_slot", "_upper_bits", "top")

    def __init__(self, node: int, leaf_slot: int) -> None:
        self._leaf_slot = leaf_slot
        self._leaf_bits = (node // leaf_slot).bit_length() - 1
        self._upper_bits = (node // _POINTER).bit_length() - 1
        self.top = 0
        while self.shift(self.top) < _USER_BITS:
            self.top += 1

    def shift(self, level: int) -> int:
        """Bits of a page's number below the slot's, in a node of *level*."""
        return self._leaf_bits + self._upper_bits * (level - 1) if level else 0

    def width(self, level: int) -> int:
        """Slots of a node of *level*; those that would lie behind user memory are not counted."""
        bits = self._upper_bits if level else self._leaf_bits
        return 1 << min(bits, max(0, _USER_BITS - self.shift(level)))

    def slots_a_line(self, level: int) -> int:
        """Slots side by side on a line."""
        return LINE_BYTES // (_POINTER if level else self._leaf_slot)


class Desc:
    """What is known of the pages that a slot covers: *rights*, and the frame where there is one.

    *cow*: a write copies the frame first. *cores* is the bit set of those whose page tables have the page;
    with one page table for all it stays empty.
    """

    __slots__ = ("cores", "counted", "cow", "rights")

    def __init__(self, rights: Rights, counted: Counted | None = None, *, cow: bool = False) -> None:
        self.rights = rights
        self.counted = counted
        self.cow = cow
        self.cores = 0

    def copy(self) -> Desc:
        """Another one that says the same. No core has its pages."""
        return Desc(self.rights, self.counted, cow=self.cow)

    def allows(self, write: bool) -> bool:
        """Whether a fault for this access may bring a page in."""
        return bool(self.rights & (WRITE if write else READ))

    def __repr__(self) -> str:
        frame = "no frame" if self.counted is None else f"frame {self.counted.frame}"
        return f"rights {self.rights}, {frame}, cores {self.cores:b}{', cow' if self.cow else ''}"


class Node:
    """One page of the tree. *level* 0 is a leaf; *base* is the first page that it covers.

    *holders* has who has the lock bit of each slot. Lines are made when somebody asks for them; until then
    *maker*, who has written all of the node, has them.
    """

    __slots__ = (
        "_lines",
        "_locks",
        "_machine",
        "base",
        "frame",
        "holders",
        "home",
        "level",
        "maker",
        "shift",
        "slots",
        "slots_a_line",
    )

    def __init__(
        self,
        machine: Machine,
        level: int,
        base: int,
        frame: int,
        home: int,
        maker: Cpu,
        *,
        shape: Geometry,
        value: Desc | None,
        holder: Cpu | None,
    ) -> None:
        self._machine = machine
        self.level = level
        self.base = base
        self.frame = frame
        self.home = home
        self.maker = maker
        self.shift = shape.shift(level)
        """Bits of a page's number below the slot's."""
        self.slots_a_line = shape.slots_a_line(level)
        width = shape.width(level)
        self.slots: list[Node | Desc | None] = [None] * width
        if value is not None:
            self.slots = [value.copy() for _ in range(width)]
        self.holders: list[Cpu | None] = [holder] * width
        self._locks: dict[int, SlotLock] = {}
        self._lines: dict[int, CacheLine] = {}

    def __repr__(self) -> str:
        return f"L{self.level} node of page {self.base:#x}"

    def slot_of(self, page: int) -> int:
        """The slot that covers *page*."""
        return (page >> self.shift) - (self.base >> self.shift)

    def first_page(self, slot: int) -> int:
        """The first page that *slot* covers."""
        return self.base + (slot << self.shift)

    @property
    def span(self) -> int:
        """Pages that one slot covers."""
        return min(1 << self.shift, ALL_PAGES)

    def line(self, slot: int) -> CacheLine:
        """The line that *slot* is on."""
        index = slot // self.slots_a_line
        line = self._lines.get(index)
        if line is None:
            first = self.first_page(index * self.slots_a_line)
            name = f"radix slots of page {first:#x}, level {self.level}"
            line = self._lines[index] = self._machine.line(name, self.home, owner=self.maker.id)
        return line

    def is_own(self, slot: int, cpu: Cpu) -> bool:
        """Whether *cpu* has made the node, and nobody has asked for the line of *slot* since."""
        return self.maker is cpu and slot // self.slots_a_line not in self._lines

    def own_values(self, slot: int, cpu: Cpu) -> int:
        """How many slots from *slot* on are such, one after the other, and lead to no node."""
        stop, slots = slot, self.slots
        while stop < len(slots) and self.is_own(stop, cpu) and not isinstance(slots[stop], Node):
            stop += 1
        return stop - slot

    def lock(self, slot: int) -> SlotLock:
        """The lock of *slot*."""
        lock = self._locks.get(slot)
        if lock is None:
            lock = self._locks[slot] = SlotLock(self, slot)
        return lock


class SlotLock(Lock):
    """One bit of a slot: test-and-set, in a loop with PAUSE, interrupts on.

    They stay on as whoever has the bit may wait for cores that wait for it. A waiter whose line nobody else
    wants looks at its own cache; it is parked until somebody writes the line, which is when its looks matter.
    """

    __slots__ = ("_parked", "node", "slot")

    removable: ClassVar[bool] = False

    def __init__(self, node: Node, slot: int) -> None:
        super().__init__(f"slot of page {node.first_page(slot):#x} at level {node.level}", LOCK_SLOT)
        self.node = node
        self.slot = slot
        self._parked: list[Cpu] = []

    @property
    def holder(self) -> Cpu | None:
        return self.node.holders[self.slot]

    def describe_wait(self) -> str:
        return f"{self.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu, pause: int) -> Steps[None]:
        """Set the bit; *pause* ps go by after each look that found it set."""
        steps = self._acquire(cpu, pause)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu, pause: int) -> Steps[None]:
        line, holders, slot = self.node.line(self.slot), self.node.holders, self.slot
        while True:
            yield from line.write(cpu, self.activity)
            if holders[slot] is None:
                holders[slot] = cpu
                return
            cpu.work(pause, self.activity)
            if cpu.pending:
                yield cpu.take_pending()
            if holders[slot] is not None and line.exclusive_to(cpu):
                line.watch(cpu, self)
                self._parked.append(cpu)
                yield from cpu.park(self, self.activity)
                self._parked.remove(cpu)
                line.unwatch(cpu)

    def release(self, cpu: Cpu) -> Steps[None]:
        """Clear the bit: a plain store."""
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        node, slot = self.node, self.slot
        if node.is_own(slot, cpu):
            cpu.stall(self.node._machine.fabric.hit, self.activity)
        else:
            yield from node.line(slot).store(cpu, self.activity)
        self.cleared(cpu)

    def cleared(self, cpu: Cpu) -> None:
        """*cpu* has written the slot, and its bit is not set any more."""
        self.node.holders[self.slot] = None
        for waiter in self._parked:
            waiter.poke(self, cpu.pending)
