"""The radix tree without an address space: looked up, and set and unset, as a bench of an index does.

A look-up goes down without a lock and reads the slot. A write locks the slots of its range, makes the nodes
that it needs, sets all slots and unlocks them; and once more, to unset them. Nodes stay, so what is written
at a random place of a large space needs new ones nearly each time: pages that come from memory, are filled,
and are in nobody's way. Who looks other regions up reads none of the lines that are written.

The lines of nodes that were made before are near to a core, or not, as `sim.hardware.Reach` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sim.designs.radixvm.slots import TREE, Desc, Node
from sim.engine import Steps
from sim.hardware import Reach
from sim.mm import READ_WRITE
from sim.quantities import LINE_BYTES, PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.radixvm.spec import RadixCosts
    from sim.designs.radixvm.tree import Place, RadixTree
    from sim.engine.costs import AtClock
    from sim.hardware import Cpu, Machine

_LINES: Final = PAGE_BYTES // LINE_BYTES


class BareTree:
    """A *tree* of a process that nobody runs in; *cost* is what its steps take."""

    __slots__ = ("_cost", "_machine", "_reach", "tree")

    def __init__(self, machine: Machine, tree: RadixTree, cost: AtClock[RadixCosts]) -> None:
        self._machine = machine
        self._cost = cost
        self._reach = Reach(machine)
        self.tree = tree

    def place(self, cpu: Cpu, regions: Sequence[tuple[int, int]]) -> Steps[None]:
        """Set *regions*; then all cpus have the lines that a search for them reads."""
        value = Desc(READ_WRITE)
        placed: list[Place] = []
        for start, end in regions:
            placed += yield from self.tree.open(cpu, start, end, folded=False)
        for node, slot in placed:
            node.slots[slot] = value.copy()
        for start, end in regions:
            for page in (start, end - 1):
                placed += [(node, node.slot_of(page)) for node in (self.tree.root, *self._way(page))]
        cpus = self._machine.cpus
        everybody = sum(other.bit for other in cpus)
        for node, slot in placed:
            line = node.line(slot)
            line.owner, line.sharers = cpu.id, everybody
        for start, _ in regions:
            for other in cpus:
                self._near(other, start, had=True)

    def _way(self, page: int) -> Iterator[Node]:
        """The nodes from the root's child to the last one on the way to *page*."""
        there = self.tree.root.slots[0]
        while isinstance(there, Node):
            yield there
            there = there.slots[there.slot_of(page)]

    def _near(self, cpu: Cpu, page: int, *, had: bool) -> int:
        """What it takes *cpu* to get at the slots on the way to *page* beyond hits (ps)."""
        cost = 0
        for node in self._way(page):
            line = node.slot_of(page) // node.slots_a_line
            cost += self._reach.use(cpu, node.frame * _LINES + line, had=had)
        return cost

    def look_up(self, cpu: Cpu, page: int) -> Steps[bool]:
        """Whether *page* is set."""
        cpu.work(self._cost.look_up, TREE)
        node, slot = yield from self.tree.find(cpu, page)
        cpu.work(self._cost.slot, TREE)
        cpu.stall(self._near(cpu, page, had=True), TREE)
        yield from node.line(slot).read(cpu, TREE)
        return node.slots[slot] is not None

    def write(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """Set the pages [*start*, *end*) and unset them again."""
        yield from self._set(cpu, start, end, Desc(READ_WRITE))
        yield from self._set(cpu, start, end, None)

    def _set(self, cpu: Cpu, start: int, end: int, value: Desc | None) -> Steps[None]:
        held = yield from self.tree.acquire(cpu, start, end)
        places = yield from self.tree.open(cpu, start, end, unset=value is None)
        yield from self.tree.assign(cpu, places, value)
        yield from self.tree.release(cpu, held)
