"""A buddy for each node under a spin lock, behind a list of single frames for each cpu.

    take   the cpu's list; empty: a batch from the buddy, under the lock      blocks: always under the lock
    free   the cpu's list; full: its oldest batch back to the buddy

That is Linux's structure at its simplest, for designs that are not Linux, which has its own (`page_alloc`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.allocators.pooled import ALLOCATE, NONE, Part, PooledAllocator
from sim.mm.frame_table import FreeList, Pool
from sim.mm.frames import Buddy
from sim.sync import QueuedSpinLock, QueueNodes

if TYPE_CHECKING:
    from sim.engine.costs import AtClock
    from sim.mm.allocators.spec import FrameBuddySpec

LOCK_BUDDY: Final = Activity("lock: buddy")


class BuddyPart(Part):
    """The buddy of one node, its lock, and each cpu's list."""

    __slots__ = ("_cost", "_lists", "_lock", "buddy")

    def __init__(
        self,
        machine: Machine,
        node: int,
        memory: range,
        home: int,
        cost: AtClock[FrameBuddySpec],
        nodes: QueueNodes,
    ) -> None:
        super().__init__(f"the buddy of node {node}", memory)
        self._cost = cost
        self.buddy = Buddy(memory.start, len(memory))
        self._lock = QueuedSpinLock(nodes, machine.line(f"lock of {self.name}", home), LOCK_BUDDY)
        self._lists: list[list[int]] = [[] for _ in machine.cpus]

    @property
    def free_frames(self) -> int:
        return self.buddy.free_frames + sum(map(len, self._lists))

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        cpu.work(self._cost.get, ALLOCATE)
        own = self._lists[cpu.id]
        if not order and own:
            return own.pop()
        yield from self._lock.acquire(cpu)
        found = self.buddy.take(1 if order else self._cost.batch, order)
        if not found and not order:
            found = self._reclaimed()
        cpu.work(len(found) * self._cost.move, ALLOCATE)
        yield from self._lock.release(cpu)
        if not found:
            return NONE
        own += reversed(found[1:])
        return found[0]

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        cpu.work(self._cost.put, ALLOCATE)
        own = self._lists[cpu.id]
        if not order:
            own.append(frame)
            if len(own) < self._cost.high:
                return
        back = [frame] if order else own[: self._cost.batch]
        if not order:
            del own[: len(back)]
        yield from self._lock.acquire(cpu)
        cpu.work(len(back) * self._cost.move, ALLOCATE)
        for each in back:
            self.buddy.free(each, order)
        yield from self._lock.release(cpu)

    def _reclaimed(self) -> list[int]:
        """The buddy is dry: some frame of another cpu's list (drain_all_pages, one at a time)."""
        for other in self._lists:
            if other:
                return [other.pop()]
        return []

    def get_now(self, cpu: Cpu, order: int) -> int:
        found = self.buddy.take(1, order) or ([] if order else self._reclaimed())
        return found[0] if found else NONE

    def put_now(self, cpu: Cpu, frame: int, order: int) -> None:
        self.buddy.free(frame, order)

    def get_many(self, cpu: Cpu, frames: int) -> list[int]:
        found = self.buddy.take(frames)
        return found if len(found) == frames else found + super().get_many(cpu, frames - len(found))

    def get_run(self, cpu: Cpu, order: int) -> int:
        return self.buddy.allocate(order) if self.buddy.has(order) else NONE

    def boot(self, cpu: Cpu, level: float) -> None:
        self._lists[cpu.id] = self.buddy.take(int(level * self._cost.batch))

    def pool(self) -> Pool:
        return Pool(self.name, self.memory, self.buddy)

    def free_lists(self) -> Iterator[FreeList]:
        for number, blocks in enumerate(self._lists):
            yield FreeList(f"the list of cpu {number} for {self.name}", self.memory, 0, blocks)


class ListedBuddy(PooledAllocator):
    """Buddies, and lists before them."""

    __slots__ = ("_nodes", "_spec")

    def __init__(self, machine: Machine, spec: FrameBuddySpec) -> None:
        self._spec = spec
        self._nodes = QueueNodes(machine, "frames")
        super().__init__(machine)

    def make_part(self, machine: Machine, node: int, memory: range, home: int) -> Part:
        cost = at_clock(self._spec, machine.spec.kernel_clock)
        return BuddyPart(machine, node, memory, home, cost, self._nodes)
