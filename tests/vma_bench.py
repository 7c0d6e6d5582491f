"""An index of VMAs beside a sorted list of ranges, which is what it should hold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import strategies as st
from kernels import design
from machines import run, small_machine

from sim.designs.linux import IndexSite, LinuxKernel, VmaIndex
from sim.designs.linux.spec import LinuxSpec
from sim.designs.linux.vma import Area, Vma
from sim.designs.linux.vma_indexes.base import Preallocation
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE
from sim.sync import QueueNodes, RwSem, Scheduler

END = 1 << 20
Range = tuple[int, int]


class Bench:
    """*check* holds the nodes against the rules of their kind."""

    def __init__(self, kind: type[VmaIndex], *, preallocation: Preallocation = "store") -> None:
        self.machine = small_machine(online=1)
        self.cpu = self.machine.cpus[0]
        spec = design("linux")
        assert isinstance(spec, LinuxSpec)
        kernel = LinuxKernel(self.machine, spec)
        self._vmas = kernel.slabs.vm_area_struct
        root_line = self.machine.line("mm_mt", owner=self.cpu.id)
        site = IndexSite(self.machine, kernel.cost, root_line, kernel.rcu, kernel.slabs, preallocation)
        self.tree = kind(site, self.cpu)
        self._tuning = spec.rwsem
        self.expected: list[Range] = []
        self._nodes = QueueNodes(self.machine, "osq")
        self._scheduler = Scheduler(self.machine)

    def vma(self, start: int, end: int) -> Steps[Vma]:
        memory = yield from self._vmas.alloc(self.cpu)
        line = memory.line(0)
        lock = RwSem("vm_lock", line, line, self._nodes, self._scheduler, Activity("lock"), self._tuning)
        return Vma(start, end, Area(READ_WRITE), memory, lock)

    def insert(self, start: int, end: int) -> Steps[None]:
        self.expected = sorted([*self.expected, (start, end)])
        yield from self.tree.insert(self.cpu, (yield from self.vma(start, end)))

    def remove(self, index: int) -> Steps[None]:
        vma = list(self.tree)[index]
        del self.expected[index]
        yield from self.tree.remove(self.cpu, vma)

    def split(self, index: int, at: int) -> Steps[None]:
        vma = list(self.tree)[index]
        self.expected[index : index + 1] = [(vma.start, at), (at, vma.end)]
        yield from self.tree.split(self.cpu, vma, (yield from self.vma(at, vma.end)))

    def extend(self, index: int, start: int, end: int, absorb: bool) -> Steps[None]:
        vmas = list(self.tree)
        self.expected[index : index + 1 + absorb] = [(start, end)]
        yield from self.tree.extend(self.cpu, vmas[index], start, end, *vmas[index + 1 : index + 1 + absorb])

    def move_boundary(self, index: int, at: int) -> Steps[None]:
        """Between the ranges *index* and *index* + 1, which lie side by side."""
        lower, upper = list(self.tree)[index : index + 2]
        self.expected[index : index + 2] = [(lower.start, at), (at, upper.end)]
        yield from self.tree.move_boundary(self.cpu, lower, upper, at)

    def apply(self, choice: str, where: int, size: int) -> Steps[None]:
        """One store of the kind *choice* somewhere near *where*, if there is room for it."""
        ranges = self.expected
        index = where % len(ranges) if ranges else 0
        before = ranges[index - 1][1] if index else 0
        start, end = ranges[index] if ranges else (0, 0)
        after = ranges[index + 1][0] if index + 1 < len(ranges) else END
        if choice == "insert":
            gaps = [(a, b) for (_, a), (b, _) in pairwise([(0, 0), *ranges, (END, END)]) if a < b]
            if not gaps:
                return
            low, high = gaps[where % len(gaps)]
            low += where * 7919 % (high - low)
            yield from self.insert(low, min(high, low + size))
        elif not ranges:
            return
        elif choice == "remove":
            yield from self.remove(index)
        elif choice == "split" and end - start > 1:
            yield from self.split(index, start + 1 + where % (end - start - 1))
        elif choice == "extend down" and before < start:
            yield from self.extend(index, max(before, start - size), end, absorb=False)
        elif choice == "extend up" and end < after:
            yield from self.extend(index, start, min(after, end + size), absorb=False)
        elif choice == "move" and index + 1 < len(ranges) and ranges[index + 1][0] == end:
            room = ranges[index + 1][1] - start
            if room > 1:
                yield from self.move_boundary(index, start + 1 + where % (room - 1))
        elif choice == "absorb" and index + 1 < len(ranges):
            yield from self.extend(index, start, ranges[index + 1][1], absorb=True)

    def find(self, page: int) -> Steps[None]:
        found = yield from self.tree.find(self.cpu, page)
        inside = [(start, end) for start, end in self.expected if start <= page < end]
        assert ([] if found is None else [(found.start, found.end)]) == inside

    def search(self, pages: int, floor: int, top: int) -> Steps[None]:
        """The tree finds the gap that looking from end to end does."""
        found = yield from self.tree.empty_area_rev(self.cpu, pages, floor, top)
        assert found == self.highest_gap(pages, floor, top)
        lowest = yield from self.tree.empty_area(self.cpu, pages, floor, top)
        assert lowest == self.lowest_gap(pages, floor, top)

    def lowest_gap(self, pages: int, floor: int, top: int) -> int | None:
        """Where the lowest gap begins that has room for *pages* pages, looked for from end to end."""
        for (_, end), (start, _) in pairwise([(0, 0), *self.expected, (END, END)]):
            if min(start, top) - max(end, floor) >= pages:
                return max(end, floor)
        return None

    def highest_gap(self, pages: int, floor: int, top: int) -> int | None:
        """Where the last *pages* pages of the highest gap begin, looked for from end to end."""
        for (_, end), (start, _) in reversed(list(pairwise([(0, 0), *self.expected, (END, END)]))):
            if min(start, top) - max(end, floor) >= pages:
                return min(start, top) - pages
        return None

    def check(self) -> None:
        assert list(self.tree.contradictions()) == []
        assert [(vma.start, vma.end) for vma in self.tree] == self.expected
        for start, end in self.expected:
            for page in (start, end - 1):
                found = self.tree.peek(page)
                assert found is not None
                assert (found.start, found.end) == (start, end)


STORES = ["insert", "insert", "insert", "remove", "split", "move", "extend down", "extend up", "absorb"]
step = st.tuples(st.sampled_from(STORES), st.integers(0, END), st.sampled_from([1, 2, 64, 5000, END]))


def steps_of(seed: int) -> list[tuple[str, int, int]]:
    """Long runs of stores that grow the index and let it shrink, in turn."""
    draw = small_machine(seed=seed).engine.stream("stores")
    steps = []
    for phase in range(6):
        stores = STORES if phase % 2 == 0 else ["remove", "remove", "absorb", "extend up", "insert"]
        steps += [(draw.choice(stores), draw.randrange(END), draw.choice([1, 3, 900])) for _ in range(150)]
    return steps


def follow(bench: Bench, steps: list[tuple[str, int, int]]) -> None:
    """Store and search; after each step everything is held against the list."""

    def body(cpu: Cpu) -> Steps[None]:
        for choice, where, size in steps:
            yield from bench.apply(choice, where, size)
            bench.check()
            yield from bench.search(size, where // 3, END - where // 2)
            yield from bench.find(where)
            yield from bench.find(where // 2)

    run(bench.machine, {0: body})


def fill(bench: Bench, count: int) -> Callable[[Cpu], Steps[None]]:
    def body(cpu: Cpu) -> Steps[None]:
        for number in range(count):
            yield from bench.insert(10 * number, 10 * number + 5)

    return body
