"""The buffer manager of a process (viktorleis/vmcache at 1157828, BufferManager).

    miss    word: evicted -> locked | count | full: evict | read the page | into the table | word: unlocked
    evict   clock: marked pages of some batches, unlocked ones are marked | lock those still marked
            | give them back: one madvise each, or one FREE | out of the table | words: evicted

Pages are only read, so none is written to the drive. Each page's memory is where the page is: no look-up
translates anything. Whoever finds the count at the limit evicts, so many threads may do so at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Call, Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import (
    DirectRead,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Madvise,
    Mmap,
    MmapExmap,
    Operation,
    Prepopulate,
    SegmentationFault,
)
from sim.mm.performer import offered
from sim.quantities import PAGE_BYTES
from sim.workload.buffers.resident import ResidentPages
from sim.workload.buffers.states import BUFFER, EVICTED, LOCKED, MARKED, UNLOCKED, PageStates
from sim.workload.exmap_spec import WORDS

if TYPE_CHECKING:
    from sim.mm import AddressSpace
    from sim.workload.buffer_spec import BufferSpec
    from sim.workload.thread import Worker


class BufferManager:
    """Pages 0, 1, ... of storage, page n at page *base* + n of *space*. *reads* and *evicted* count."""

    __slots__ = (
        "_counters",
        "_limit",
        "_machine",
        "_resident",
        "_spec",
        "_used",
        "base",
        "by_exmap",
        "evicted",
        "reads",
        "space",
        "states",
    )

    def __init__(self, machine: Machine, spec: BufferSpec, space: AddressSpace) -> None:
        self._machine = machine
        self._spec = spec
        self.space = space
        self.by_exmap = spec.memory == "exmap" or (
            spec.memory == "best" and ExmapFree in offered(type(space))
        )
        self._limit = spec.resident // PAGE_BYTES
        self._counters: CacheLine = machine.line("buffer manager: counters", 0)  # used, hand, reads
        probe: int = at_clock(spec, machine.spec.clock).probe
        self._resident = ResidentPages(machine, self._limit, self._counters, probe)
        self.states = PageStates(machine, spec.pages)
        self._used = 0
        self.base = 0
        self.reads = 0
        self.evicted = 0

    # -- to begin with --------------------------------------------------------------------------------------

    def fill(self, worker: Worker) -> Steps[None]:
        """Map the storage and bring pages in, the upper levels first, until the limit is near."""
        there = min(self._spec.pages, self._limit - 1)
        if self.by_exmap:
            yield from worker.perform(ExmapSetup(self._spec.pool // PAGE_BYTES, self._spec.interfaces))
            self.base = yield from worker.perform(MmapExmap(self._spec.pages))
            for start in range(0, there, WORDS):
                pages = range(self.base + start, self.base + min(start + WORDS, there))
                yield from worker.perform(ExmapAlloc(0, (pages,)))
        else:
            self.base = yield from worker.perform(Mmap(self._spec.pages))
            yield from worker.perform(Prepopulate(self.base, there))
        marked = self._machine.engine.stream("marked pages").random
        for page in range(there):
            self.states.state[page] = MARKED if marked() < self._spec.marked else UNLOCKED
            self._resident.put(page)
        self._used = there

    # -- pages in and out -----------------------------------------------------------------------------------

    def bring_in(self, worker: Worker, page: int) -> Steps[None]:
        """handleFault of *page*, which the thread has locked, and unfixX."""
        cpu = worker.cpu
        yield from self._counters.write(cpu, BUFFER)
        self._used += 1
        if self._used >= self._limit:
            yield from self.evict(worker)
        read = yield from self._ask(worker, self._read(worker, page))
        while read != 1:  # the pool is empty: others have what is free in their bundles
            yield from self.evict(worker)
            read = yield from self._ask(worker, self._read(worker, page))
        yield from self._counters.write(cpu, BUFFER)
        self.reads += 1
        yield from self._resident.insert(cpu, page)
        yield from self.states.unlock(cpu, page, UNLOCKED)

    def _read(self, worker: Worker, page: int) -> Operation:
        at = self.base + page
        if self.by_exmap:
            return ExmapRead(self._interface(worker), (range(at, at + 1),))
        return DirectRead(at)

    def _interface(self, worker: Worker) -> int:
        if worker.number >= self._spec.interfaces:
            raise ModelError(f"{worker.title} has no interface: there are {self._spec.interfaces}")
        return worker.number

    def _ask(self, worker: Worker, operation: Operation) -> Steps[object]:
        """Value: what the kernel answers."""
        return (yield Call(self.space.perform(worker.cpu, operation)))

    def evict(self, worker: Worker) -> Steps[None]:
        """BufferManager::evict, where no page is dirty."""
        cpu, batch, states = worker.cpu, self._spec.batch, self.states
        wanted: list[int] = []
        while len(wanted) < batch:
            hand = yield from self._resident.advance(cpu, batch)
            for place in range(hand, hand + batch):
                page = yield from self._resident.at(cpu, place)
                if page is None:
                    continue
                found = yield from states.load(cpu, page)
                if found[0] == MARKED:
                    clean = yield from self._is_clean(cpu, page)
                    if clean:
                        wanted.append(page)
                elif found[0] == UNLOCKED:
                    yield from states.swap(cpu, page, found, MARKED)
        locked: list[int] = []
        for page in wanted:
            found = yield from states.load(cpu, page)
            if found[0] == MARKED:
                mine = yield from states.swap(cpu, page, found, LOCKED)
                if mine:
                    locked.append(page)
        yield from self._give_back(worker, locked)
        for page in locked:
            there = yield from self._resident.remove(cpu, page)
            assert there, "who has locked a page of the table is the only one to take it out"
            yield from states.unlock(cpu, page, EVICTED)
        yield from self._counters.write(cpu, BUFFER)
        self._used -= len(locked)
        self.evicted += len(locked)

    def _is_clean(self, cpu: Cpu, page: int) -> Steps[bool]:
        """Whether *page* is clean, as it says itself; False where it has gone meanwhile."""
        try:
            yield from self.space.access(cpu, self.base + page, write=False)
        except SegmentationFault:
            return False
        return True

    def _give_back(self, worker: Worker, pages: list[int]) -> Steps[None]:
        if self.by_exmap:
            for start in range(0, len(pages), WORDS):
                words = [self.base + page for page in pages[start : start + WORDS]]
                parts = tuple(range(page, page + 1) for page in words)
                yield from worker.perform(ExmapFree(self._interface(worker), parts))
            return
        for page in pages:
            yield from worker.perform(Madvise(self.base + page, 1))
