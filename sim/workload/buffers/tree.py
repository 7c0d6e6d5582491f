"""Look-ups in a tree of pages, with optimistic guards (viktorleis/vmcache at 1157828, GuardO, BTree::lookup).

    each level   load the word | search the page | load the parent's word again: as it was, or all anew

A word that is marked is unlocked first, so that the clock sees that the page is used; one that is locked is
waited for; one that is evicted is locked, and the page brought in. A page that goes while it is read is seen
by its word; with exmap the read is a signal, which is handled by beginning anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm import USER, SegmentationFault, Signal
from sim.workload.buffers.manager import BufferManager
from sim.workload.buffers.states import BUFFER, EVICTED, LOCKED, MARKED, UNLOCKED

if TYPE_CHECKING:
    from sim.mm import AddressSpace
    from sim.workload.buffer_spec import BufferSpec, TreeLevel
    from sim.workload.thread import Worker

Found = tuple[int, int]
"""State and version of a page."""


class Buffers:
    """The buffer manager of each process, made when it is first used, and the tree in it."""

    __slots__ = ("_hit", "_look_up", "_machine", "_managers", "_miss", "_spec", "_starts")

    def __init__(self, machine: Machine, spec: BufferSpec) -> None:
        self._machine = machine
        self._spec = spec
        clock = machine.spec.clock
        self._look_up: int = at_clock(spec, clock).look_up
        self._hit: int = machine.fabric.hit
        cache = machine.spec.memory.core_cache
        self._miss = 0 if cache is None else at_clock(cache, clock).miss
        self._managers: dict[AddressSpace, BufferManager] = {}
        starts = [0]
        for level in spec.tree[:-1]:
            starts.append(starts[-1] + level.pages)
        self._starts = starts

    def of(self, worker: Worker) -> BufferManager:
        """That of the process which *worker* is in."""
        manager = self._managers.get(worker.space)
        if manager is None:
            manager = self._managers[worker.space] = BufferManager(self._machine, self._spec, worker.space)
        return manager

    def fill(self) -> Callable[[Worker], Steps[None]]:
        """The step that makes it and brings pages in."""
        return lambda worker: self.of(worker).fill(worker)

    def look_up(self, stream: str) -> Callable[[Worker], Steps[None]]:
        """The step that looks one key up, drawn from the random *stream*."""
        leaves = self._spec.tree[-1].pages

        def run(worker: Worker) -> Steps[None]:
            leaf = int(worker.stream(stream).random() * leaves)
            worker.cpu.work(self._look_up, USER)
            done = False
            while not done:
                done = yield from self._descend(worker, self.of(worker), leaf)

        return run

    def _descend(self, worker: Worker, manager: BufferManager, leaf: int) -> Steps[bool]:
        """From the root to *leaf*; value: False where it has to begin anew."""
        cpu, spec = worker.cpu, self._spec
        leaves = spec.tree[-1].pages
        parent, before = -1, (UNLOCKED, 0)
        for start, level in zip(self._starts, spec.tree, strict=True):
            page = start + leaf * level.pages // leaves
            found = yield from self._guard(worker, manager, page)
            if parent >= 0 and not (yield from self._is_as_it_was(cpu, manager, parent, before)):
                return False
            try:
                yield from manager.space.access(cpu, manager.base + page, write=False)
            except SegmentationFault:  # handleSEGFAULT
                yield from worker.perform(Signal())
                yield from worker.perform(Signal(returns=True))
                return False
            yield from self._search(cpu, level)
            parent, before = page, found
        return (yield from self._is_as_it_was(cpu, manager, parent, before))

    def _guard(self, worker: Worker, manager: BufferManager, page: int) -> Steps[Found]:
        """GuardO::init: the word of *page*, which is in memory."""
        cpu, states = worker.cpu, manager.states
        while True:
            found = yield from states.load(cpu, page)
            state = found[0]
            if state == UNLOCKED:
                return found
            if state == MARKED:
                cleared = yield from states.swap(cpu, page, found, UNLOCKED)
                if cleared:
                    return UNLOCKED, found[1]
            elif state == EVICTED:
                mine = yield from states.swap(cpu, page, found, LOCKED)
                if mine:
                    yield from manager.bring_in(worker, page)
            else:
                assert state == LOCKED
                cpu.stall(self._machine.fabric.rmw, BUFFER)  # PAUSE

    def _is_as_it_was(self, cpu: Cpu, manager: BufferManager, page: int, before: Found) -> Steps[bool]:
        """checkVersionAndRestart; a mark is taken away again."""
        states = manager.states
        now = yield from states.load(cpu, page)
        if now == before:
            return True
        if now[1] == before[1] and now[0] == MARKED:
            return (yield from states.swap(cpu, page, now, UNLOCKED))
        return False

    def _search(self, cpu: Cpu, level: TreeLevel) -> Steps[None]:
        """Search one node: its loads one after the other."""
        cpu.work(level.search.at(self._machine.spec.clock), USER)
        cpu.stall(level.near * self._miss, USER)
        for _ in range(level.far):
            if cpu.pending:
                yield cpu.take_pending()
            cpu.stall(self._machine.memory.read_line(cpu, cpu.node), USER)
