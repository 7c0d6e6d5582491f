"""sv6's pages: a list of hot ones a core, over a buddy a core (kernel/kalloc.cc).

    allocate  the core's list, the page freed last first; empty: half of it from the core's buddy, under its
              lock, or from the next buddy in the core's order, if that is dry
    free      onto the list; full: its older half is sorted and goes back, each page to the buddy whose memory
              it is (its home), under that buddy's lock

The memory of a node is shared out evenly to its cores' buddies. A core steals from those of its own node
first, and from all others then. Nodes none of whose cores are online have one buddy, for the others.

Source: aclements/sv6 at 9271b3f, kernel/kalloc.cc (KALLOC_BUDDY_PER_CPU 1, KALLOC_LOAD_BALANCE 0). The list
of pages zeroed beforehand (kernel/zalloc.cc) is filled when a core looks for another thread, so with 32 pages
a tick at most: it is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import (
    MAX_ORDER,
    Buddy,
    FirstTouch,
    FrameMap,
    FreeList,
    PhysicalMemory,
    Pool,
    Room,
    distances,
    out_of_memory,
    zonelists,
)
from sim.quantities import PAGE_BYTES
from sim.sync import TasLock

if TYPE_CHECKING:
    from sim.designs.radixvm.spec import FrameSpec, RadixCosts
    from sim.engine.costs import AtClock

ALLOCATE: Final = Activity("allocate")
LOCK_BUDDY: Final = Activity("lock: buddy")

_BLOCK: Final = 1 << MAX_ORDER


class _Home:
    """A buddy, the *memory* that is its own, and its lock."""

    __slots__ = ("buddy", "lock", "memory", "name")

    def __init__(self, machine: Machine, name: str, memory: range, socket: int) -> None:
        self.name = name
        self.memory = memory
        self.buddy = Buddy(memory.start, len(memory))
        self.lock = TasLock(machine.line(name, socket), LOCK_BUDDY)


class FrameAllocator(PhysicalMemory):
    """Frames for data, page tables and the nodes of trees."""

    __slots__ = ("_cost", "_homes", "_hot", "_hot_pages", "_machine", "_orders", "_starts", "frames", "total")

    def __init__(self, machine: Machine, spec: FrameSpec, cost: AtClock[RadixCosts]) -> None:
        super().__init__()
        self._machine = machine
        self._cost = cost
        self._hot_pages = spec.hot_pages
        self.frames = FrameMap(machine.spec)
        topology = machine.spec.topology
        self.total = machine.spec.memory.size_per_socket * topology.sockets // PAGE_BYTES
        nodes = topology.numa_nodes
        seen = FirstTouch(topology)
        cores: list[list[int]] = [[] for _ in range(nodes)]
        for cpu in machine.cpus:
            cores[seen.node(cpu)].append(cpu.id)
        self._homes: list[_Home] = []
        of_node: list[list[int]] = [[] for _ in range(nodes)]
        own: dict[int, int] = {}
        for node, its in enumerate(cores):
            frames = self.total // nodes
            first, socket = node * frames, node * topology.sockets // nodes
            each = frames // max(1, len(its)) // _BLOCK * _BLOCK
            for number, owner in enumerate(its or [-1]):
                start = first + number * each
                stop = first + frames if number == len(its or [-1]) - 1 else start + each
                name = f"the buddy of node {node}" if owner < 0 else f"the buddy of {machine.cpus[owner]}"
                own[owner] = len(self._homes)
                of_node[node].append(len(self._homes))
                self._homes.append(_Home(machine, name, range(start, stop), socket))
        self._starts = [home.memory.start for home in self._homes]
        near = zonelists(distances(machine.spec, nodes))
        self._orders = [
            [
                own[cpu.id],
                *(each for node in near[seen.node(cpu)] for each in of_node[node] if each != own[cpu.id]),
            ]
            for cpu in machine.cpus
        ]
        self._hot: list[list[int]] = [[] for _ in machine.cpus]

    def node(self, cpu: Cpu, frame: int) -> int:
        """The node of *frame*; *cpu* touches it."""
        return self.frames.node(frame, cpu.node)

    def allocate(self, cpu: Cpu) -> Steps[int]:
        """Value is a frame. Raises `OutOfMemory`."""
        cpu.work(self._cost.frame_alloc, ALLOCATE)
        hot = self._hot[cpu.id]
        if not hot:
            yield from self._refill(cpu, hot)
        frame = hot.pop()
        self.in_use.add(frame)
        if cpu.heard:
            cpu.probe.frame_allocated(cpu, frame, 0)
        return frame

    def _refill(self, cpu: Cpu, hot: list[int]) -> Steps[None]:
        """Half a list from the core's buddy, or from others. Raises `OutOfMemory` if all are dry."""
        wanted = self._hot_pages // 2
        for number in self._orders[cpu.id]:
            home = self._homes[number]
            yield from home.lock.acquire(cpu)
            taken = home.buddy.take(wanted - len(hot))
            cpu.work(len(taken) * self._cost.buddy_page, ALLOCATE)
            hot += taken
            yield from home.lock.release(cpu)
            if len(hot) >= wanted:
                return
        if not hot:
            rooms = [Room("the machine", self.total, sum(home.buddy.free_frames for home in self._homes))]
            raise out_of_memory(cpu, 0, rooms)

    def free(self, cpu: Cpu, frame: int) -> Steps[None]:
        """The frame has no owner any more."""
        self._let_go(cpu, frame)
        cpu.work(self._cost.frame_free, ALLOCATE)
        hot = self._hot[cpu.id]
        if len(hot) == self._hot_pages:
            half = self._hot_pages // 2
            older = sorted(hot[:half])
            del hot[:half]
            hot.append(frame)
            for each in older:
                yield from self._return(cpu, each)
        else:
            hot.append(frame)

    def _return(self, cpu: Cpu, frame: int) -> Steps[None]:
        """To its home."""
        home = self._home_of(frame)
        yield from home.lock.acquire(cpu)
        cpu.work(self._cost.buddy_page, ALLOCATE)
        home.buddy.free(frame)
        yield from home.lock.release(cpu)

    def free_at_once(self, cpu: Cpu, frame: int) -> None:
        """`free` in no time, while no thread runs."""
        self._let_go(cpu, frame)
        self._home_of(frame).buddy.free(frame)

    def _let_go(self, cpu: Cpu, frame: int) -> None:
        self.in_use.put(frame)
        if cpu.heard:
            cpu.probe.frame_freed(cpu, frame, 0)

    def _home_of(self, frame: int) -> _Home:
        return self._homes[bisect_right(self._starts, frame) - 1]

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """Each core's, and those of nodes without cores."""
        for home in self._homes:
            yield Pool(home.name, home.memory, home.buddy)

    def free_lists(self) -> Iterator[FreeList]:
        """Each core's hot list, of pages from anywhere."""
        for cpu in self._machine.cpus:
            yield FreeList(f"the hot list of {cpu}", range(self.total), 0, self._hot[cpu.id])
