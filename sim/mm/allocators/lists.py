"""Lists of free frames: under a lock, by compare-and-swap, or one a core.

A free frame holds the number of the next one, in its descriptor: a cache line of its own.

    locked   lock | head -> frame, its descriptor -> head | unlock | the core's counter
    cas      head: load | its descriptor: load | head: compare and swap, from the load on again if it failed
             | descriptor: compare and swap | the core's counter
    local    each core has a share of the memory and a list of its own; no atomics

The lists know single frames only. So that a kernel can have them, larger blocks are on lists of their own,
one an order, filled from memory that was never given away and never merged; that is not measured anywhere.
Where a core's own list is empty its frames come from what others have given back: the measured program gives
up there.

Source: luhsra/llfree-rs at d176e83, core/src/upper/list_locked.rs, list_cas.rs, list_local.rs; the lock is
a compare-and-swap that is tried again after a pause without looking (core/src/atomic.rs, Spin).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.allocators.pooled import ALLOCATE, NONE, Part, PooledAllocator
from sim.mm.frame_table import FreeList, Pool
from sim.mm.frames import Buddy
from sim.sync import TasLock

if TYPE_CHECKING:
    from sim.engine.costs import AtClock
    from sim.mm.allocators.spec import FrameListSpec

LOCK_LIST: Final = Activity("lock: frame list")
LIST: Final = Activity("frame list")


class FrameLists(Part):
    """Free blocks of each order in the order in which they will be taken, last first, over fresh memory."""

    __slots__ = ("_cost", "_fresh", "_machine", "_rmw", "_stacks", "_user")

    def __init__(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> None:
        super().__init__(f"the list of node {node}", memory)
        self._machine = machine
        self._cost = cost
        self._rmw = machine.fabric.rmw
        self._fresh = Buddy(memory.start, len(memory))
        self._stacks: dict[int, list[int]] = {0: []}
        self._user: dict[int, int] = {}
        """Which cpu has used the descriptor of a frame last."""

    @property
    def free_frames(self) -> int:
        listed = sum(len(blocks) << order for order, blocks in self._stacks.items())
        return listed + self._fresh.free_frames

    def first(self, order: int) -> int:
        """The block that is next, `NONE` if there is none. It stays where it is."""
        stack = self._stacks.get(order)
        if stack:
            return stack[-1]
        if not self._fresh.has(order):
            return NONE
        self._stacks.setdefault(order, []).append(self._fresh.allocate(order))
        return self._stacks[order][-1]

    def pop(self, order: int) -> int:
        """Take the block that `first` has named."""
        return self._stacks[order].pop()

    def push(self, frame: int, order: int) -> None:
        """It is the first from now on."""
        self._stacks.setdefault(order, []).append(frame)

    def use(self, cpu: Cpu, frame: int) -> None:
        """*cpu* loads or stores the descriptor of *frame*: from memory, from another cpu, or its own."""
        user = self._user.get(frame, NONE)
        if user == NONE:
            cpu.stall(self._cost.descriptor, ALLOCATE)
        elif user != cpu.id:
            cpu.stall(self._machine.fabric.between(cpu.id, user), ALLOCATE)
        self._user[frame] = cpu.id

    # -- in no time -----------------------------------------------------------------------------------------

    def get_now(self, cpu: Cpu, order: int) -> int:
        return NONE if self.first(order) == NONE else self.pop(order)

    def put_now(self, cpu: Cpu, frame: int, order: int) -> None:
        self.push(frame, order)

    def get_many(self, cpu: Cpu, frames: int) -> list[int]:
        stack = self._stacks[0]
        found = [stack.pop() for _ in range(min(frames, len(stack)))]
        return found + self._fresh.take(frames - len(found))

    def get_run(self, cpu: Cpu, order: int) -> int:
        return self._fresh.allocate(order) if self._fresh.has(order) else NONE

    # -- the end state --------------------------------------------------------------------------------------

    def pool(self) -> Pool:
        return Pool(f"what {self.name} has never given away", self.memory, self._fresh)

    def free_lists(self) -> Iterator[FreeList]:
        for order, blocks in self._stacks.items():
            yield FreeList(f"{self.name}, order {order}", self.memory, order, blocks)


class LockedList(FrameLists):
    """All under one lock."""

    __slots__ = ("_head", "_lock")

    def __init__(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> None:
        super().__init__(machine, node, memory, home, cost)
        pause: int = cost.pause
        self._lock = TasLock(machine.line(f"lock of {self.name}", home), LOCK_LIST, pause, blind=True)
        self._head = machine.line(f"head of {self.name}", home)

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        cpu.work(self._cost.get, ALLOCATE)
        yield from self._lock.acquire(cpu)
        yield from self._head.store(cpu, LOCK_LIST)
        frame = self.first(order)
        if frame != NONE:
            self.pop(order)
            self.use(cpu, frame)
        yield from self._lock.release(cpu)
        cpu.stall(self._rmw, ALLOCATE)
        return frame

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        cpu.work(self._cost.put, ALLOCATE)
        yield from self._lock.acquire(cpu)
        yield from self._head.store(cpu, LOCK_LIST)
        self.use(cpu, frame)
        self.push(frame, order)
        yield from self._lock.release(cpu)
        cpu.stall(self._rmw, ALLOCATE)


class CasList(FrameLists):
    """The head is swapped by compare-and-swap. *_changes* stands for what it is compared with: it is another
    one as soon as anybody has changed the list."""

    __slots__ = ("_changes", "_head")

    def __init__(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> None:
        super().__init__(machine, node, memory, home, cost)
        self._head = machine.line(f"head of {self.name}", home)
        self._changes = 0

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        cpu.work(self._cost.get, ALLOCATE)
        yield from self._head.read(cpu, LIST)
        while True:
            seen = self._changes
            frame = self.first(order)
            if frame == NONE:
                return NONE
            self.use(cpu, frame)
            yield from self._head.write(cpu, LIST)
            if self._changes == seen:
                break
        self._changes += 1
        self.pop(order)
        cpu.stall(2 * self._rmw, ALLOCATE)
        return frame

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        cpu.work(self._cost.put, ALLOCATE)
        yield from self._head.read(cpu, LIST)
        while True:
            seen = self._changes
            self.use(cpu, frame)
            cpu.stall(self._rmw, ALLOCATE)
            yield from self._head.write(cpu, LIST)
            if self._changes == seen:
                break
        self._changes += 1
        self.push(frame, order)
        cpu.stall(self._rmw, ALLOCATE)


class LocalLists(Part):
    """A list for each cpu, over its share of the memory."""

    __slots__ = ("_lists",)

    def __init__(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> None:
        super().__init__(f"the lists of node {node}", memory)
        self._lists: list[_OwnList] = []
        size = len(memory) // len(machine.cpus) // 1024 * 1024
        for cpu in machine.cpus:
            start = memory.start + cpu.id * size
            stop = memory.stop if cpu is machine.cpus[-1] else start + size
            self._lists.append(_OwnList(machine, node, range(start, stop), home, cost, cpu, memory))

    @property
    def free_frames(self) -> int:
        return sum(each.free_frames for each in self._lists)

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        for other in self._from_own_on(cpu):
            if other.first(order) != NONE:
                yield from other.own_line.store(cpu, ALLOCATE)
                frame = yield from other.get(cpu, order)
                if frame != NONE:
                    return frame
        return NONE

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        return self._lists[cpu.id].put(cpu, frame, order)

    def get_now(self, cpu: Cpu, order: int) -> int:
        for each in self._from_own_on(cpu):
            frame = each.get_now(cpu, order)
            if frame != NONE:
                return frame
        return NONE

    def put_now(self, cpu: Cpu, frame: int, order: int) -> None:
        self._lists[cpu.id].push(frame, order)

    def get_many(self, cpu: Cpu, frames: int) -> list[int]:
        found: list[int] = []
        for each in self._from_own_on(cpu):
            found += each.get_many(cpu, frames - len(found))
        return found

    def get_run(self, cpu: Cpu, order: int) -> int:
        for each in self._from_own_on(cpu):
            frame = each.get_run(cpu, order)
            if frame != NONE:
                return frame
        return NONE

    def _from_own_on(self, cpu: Cpu) -> Iterator[_OwnList]:
        count = len(self._lists)
        for number in range(cpu.id, cpu.id + count):
            yield self._lists[number % count]

    def pool(self) -> Pool:
        """Of the first cpu; the others' are free lists, block by block."""
        return self._lists[0].pool()

    def pools(self) -> Iterator[Pool]:
        """Of each cpu."""
        for each in self._lists:
            yield each.pool()

    def free_lists(self) -> Iterator[FreeList]:
        for each in self._lists:
            yield from each.free_lists()


class _OwnList(FrameLists):
    """The list of one cpu. *node_memory*: where frames that others took first may come from."""

    __slots__ = ("_node_memory", "own_line")

    def __init__(
        self,
        machine: Machine,
        node: int,
        memory: range,
        home: int,
        cost: AtClock[FrameListSpec],
        owner: Cpu,
        node_memory: range,
    ) -> None:
        super().__init__(machine, node, memory, home, cost)
        self.name = f"the list of {owner} on node {node}"
        self.own_line = machine.line(f"head of {self.name}", home, owner=owner.id)
        self._node_memory = node_memory

    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        cpu.work(self._cost.get, ALLOCATE)
        frame = self.get_now(cpu, order)
        if frame != NONE:
            self.use(cpu, frame)
        return frame
        yield

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        cpu.work(self._cost.put, ALLOCATE)
        yield from self.own_line.store(cpu, ALLOCATE)
        self.use(cpu, frame)
        self.push(frame, order)

    def free_lists(self) -> Iterator[FreeList]:
        for order, blocks in self._stacks.items():
            yield FreeList(f"{self.name}, order {order}", self._node_memory, order, blocks)


class ListAllocator(PooledAllocator):
    """What the lists of this module have in common as allocators."""

    __slots__ = ("_spec",)

    def __init__(self, machine: Machine, spec: FrameListSpec) -> None:
        self._spec = spec
        super().__init__(machine)

    def make_part(self, machine: Machine, node: int, memory: range, home: int) -> Part:
        return self.make_list(machine, node, memory, home, at_clock(self._spec, machine.spec.kernel_clock))

    @abstractmethod
    def make_list(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> Part:
        """The list of a node."""


class ListLocked(ListAllocator):
    """A list under a lock for each node."""

    __slots__ = ()

    def make_list(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> Part:
        return LockedList(machine, node, memory, home, cost)


class ListCas(ListAllocator):
    """A list by compare-and-swap for each node."""

    __slots__ = ()

    def make_list(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> Part:
        return CasList(machine, node, memory, home, cost)


class ListLocal(ListAllocator):
    """A list for each cpu and node."""

    __slots__ = ()

    def make_list(
        self, machine: Machine, node: int, memory: range, home: int, cost: AtClock[FrameListSpec]
    ) -> Part:
        return LocalLists(machine, node, memory, home, cost)

    def buddies(self) -> Iterator[Pool]:
        for part in self.parts:
            assert isinstance(part, LocalLists)
            yield from part.pools()
