"""Refcache: reference counts of which each core keeps its own changes back for a while (kernel/refcache.cc).

A core has *ways*, each with an object and a difference. To count is to change the difference in the object's
way: nobody else's line is touched. Another object in the same way is *evicted* first: its difference goes to
the global count, under the object's lock. At each timer tick a core flushes all its ways, once an epoch; the
last core to do so ends the epoch. An object whose global count becomes zero may still have references that
some core holds back. So it is put on that core's list, and freed when its count is zero, and has been zero
all the time, at a review two epochs later:

    core A   -1                  flush: 0, to be reviewed at 2 + 2 = 4                 review: still 0, free
    core B          flush                  flush                    flush
    epoch   |---------- 2 ----------|-------------- 3 --------------|------------- 4 -------------|

So what is let go comes back after 20 to 40 ms. What is freed is freed by a thread of the core, the reaper;
here that is at the core's next entry into the kernel.

Source: aclements/sv6 at 9271b3f, kernel/refcache.cc, include/refcache.hh. Weak
references are left out: the tree's nodes are never freed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine

if TYPE_CHECKING:
    from sim.designs.radixvm.frame_alloc import FrameAllocator
    from sim.designs.radixvm.spec import RadixCosts, RefcacheSpec
    from sim.engine import Background
    from sim.engine.costs import AtClock
    from sim.hardware import CacheLine

REFCACHE: Final = Activity("refcache")


class Counted:
    """A frame's descriptor (class page_info) and its global count, on the line of its lock.

    *review_epoch* is when it is to be looked at again, 0: nobody is going to. *dirty*: the count has been
    something else since it was found to be zero.
    """

    __slots__ = ("count", "dirty", "frame", "line", "review_epoch")

    def __init__(self, frame: int, line: CacheLine) -> None:
        self.frame = frame
        self.line = line
        self.count = 1
        self.review_epoch = 0
        self.dirty = False

    def __repr__(self) -> str:
        return f"the descriptor of frame {self.frame}"


class _Core:
    """What one core has: its ways, by number, what it reviews, what its reaper is to free."""

    __slots__ = ("deltas", "epoch", "objects", "reap", "review", "timer", "turn")

    def __init__(self, turn: int) -> None:
        self.objects: dict[int, Counted] = {}
        self.deltas: dict[int, int] = {}
        self.epoch = 0
        self.review: deque[Counted] = deque()
        self.reap: deque[Counted] = deque()
        self.turn = turn
        """When its timer ticks, modulo the time between two ticks."""
        self.timer: Background | None = None


class Refcache:
    """The counts of all frames. *frames* gets those that nobody refers to any more.

    *conflicts* and *freed* count evictions for another object's sake and objects freed.
    """

    __slots__ = (
        "_cores",
        "_cost",
        "_epoch",
        "_epoch_line",
        "_left",
        "_left_line",
        "_machine",
        "_spec",
        "alive",
        "conflicts",
        "frames",
        "freed",
    )

    def __init__(
        self, machine: Machine, spec: RefcacheSpec, cost: AtClock[RadixCosts], frames: FrameAllocator
    ) -> None:
        self._machine = machine
        self._spec = spec
        self._cost = cost
        self.frames = frames
        draw = machine.engine.stream("timer ticks").random
        self._cores = [_Core(int(draw() * spec.tick)) for _ in machine.cpus]
        self._epoch = 1  # 0 says that an object has no reviewer
        self._left = len(machine.cpus)
        self._epoch_line = machine.line("global epoch")
        self._left_line = machine.line("cores left in the epoch")
        self.alive: dict[int, Counted] = {}
        """The objects that have been made and not freed, by their frames."""
        self.conflicts = 0
        self.freed = 0

    @property
    def epoch(self) -> int:
        """The global epoch."""
        return self._epoch

    # -- references -----------------------------------------------------------------------------------------

    def make(self, cpu: Cpu, frame: int) -> Steps[Counted]:
        """An object for *frame*, with one reference, the caller's. Its descriptor is in no cache: what was
        freed is old."""
        home = self._machine.spec.topology.socket_of_node(self.frames.node(cpu, frame))
        made = Counted(frame, self._machine.line(f"descriptor of frame {frame}", home))
        cpu.work(self._cost.page_info, REFCACHE)
        yield from made.line.store(cpu, REFCACHE)
        self.alive[frame] = made
        return made

    def get(self, cpu: Cpu, counted: Counted) -> Steps[None]:
        """One reference more (inc)."""
        return self._add(cpu, counted, 1)

    def put(self, cpu: Cpu, counted: Counted) -> Steps[None]:
        """One less (dec)."""
        return self._add(cpu, counted, -1)

    def _add(self, cpu: Cpu, counted: Counted, delta: int) -> Steps[None]:
        core, way = self._cores[cpu.id], self.way_of(counted)
        if (other := core.objects.get(way)) is not None and other is not counted:
            self.conflicts += 1
            yield from self._evict(cpu, core, way)
        cpu.work(self._cost.reference, REFCACHE)
        core.objects[way] = counted
        core.deltas[way] = core.deltas.get(way, 0) + delta

    def way_of(self, counted: Counted) -> int:
        """Where each core counts it: a hash of its address (cache::hash_way)."""
        way = counted.frame * self._spec.descriptor
        way ^= (way >> 32) ^ (way >> 20) ^ (way >> 12)
        way ^= (way >> 7) ^ (way >> 4)
        return way % self._spec.ways

    def _evict(self, cpu: Cpu, core: _Core, way: int) -> Steps[None]:
        """Interrupts are off, as in all that touches the ways."""
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        counted = core.objects.get(way)
        if counted is not None:  # a tick may have come before that
            cpu.work(self._cost.evict, REFCACHE)
            yield from counted.line.write(cpu, REFCACHE)
            self._bring(core, way, exact=False)
        cpu.enable_interrupts()

    def _bring(self, core: _Core, way: int, *, exact: bool) -> None:
        """Under the object's lock: its global count has what *way* has kept back. The core knows the global
        epoch only while it flushes (*exact*); else it may be one behind."""
        counted, delta = core.objects.pop(way), core.deltas.pop(way)
        counted.count += delta
        if counted.count:
            return
        if counted.review_epoch:
            counted.dirty = True
            return
        counted.review_epoch = core.epoch + self._spec.epochs + (0 if exact else 1)
        counted.dirty = False
        core.review.append(counted)

    # -- ticks ----------------------------------------------------------------------------------------------

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* enters the kernel: its timer goes, and its reaper has had its turn."""
        core = self._cores[cpu.id]
        if core.timer is None or core.timer.dropped:
            for other in self._machine.cpus:
                timer = self._cores[other.id].timer
                if timer is None or timer.dropped:
                    self._await_tick(other)
        while core.reap:
            yield from self._free(cpu, core.reap.popleft())

    def _free(self, cpu: Cpu, counted: Counted) -> Steps[None]:
        """`onzero`: the frame goes back."""
        del self.alive[counted.frame]
        self.freed += 1
        return self.frames.free(cpu, counted.frame)

    def _await_tick(self, cpu: Cpu) -> None:
        core, engine, tick = self._cores[cpu.id], self._machine.engine, self._spec.tick
        delay = (core.turn - engine._now) % tick or tick
        core.timer = engine.call_in_background(delay, partial(self._on_tick, cpu))

    def _on_tick(self, cpu: Cpu) -> None:
        cpu.interrupt(self._tick)
        self._await_tick(cpu)

    def _tick(self, cpu: Cpu) -> tuple[int, partial[None]]:
        """cache::tick, in the timer's interrupt."""
        length = self._machine.interrupts.entry(cpu)
        length += self._flush(cpu)
        length += self._review(cpu)
        return length, partial(_ignore)

    def _flush(self, cpu: Cpu) -> int:
        """Bring all that the core has kept back to its objects, once an epoch. Value: its time (ps)."""
        core = self._cores[cpu.id]
        length = self._epoch_line.read_in_handler(cpu)
        if core.epoch == self._epoch:
            return length
        core.epoch = self._epoch
        length += cpu.work_time(self._cost.scan_ways)
        evict, now = cpu.work_time(self._cost.evict), self._machine.engine._now
        for way in sorted(core.objects):
            length += evict + core.objects[way].line.take_between(cpu, now + length)
            self._bring(core, way, exact=True)
        length += self._left_line.take_between(cpu, now + length)
        self._left -= 1
        if not self._left:
            self._left = len(self._cores)
            length += self._epoch_line.take_between(cpu, now + length)
            self._epoch += 1
        return length

    def _review(self, cpu: Cpu) -> int:
        """Look at what was zero so many epochs ago. Value: what that takes (ps)."""
        core, epoch, length = self._cores[cpu.id], self._epoch, 0
        look, now = cpu.work_time(self._cost.review), self._machine.engine._now
        again: list[Counted] = []
        while core.review and core.review[0].review_epoch <= epoch:
            counted = core.review.popleft()
            length += look + counted.line.take_between(cpu, now + length)
            if counted.count:
                counted.review_epoch = 0
            elif counted.dirty:
                counted.dirty = False
                counted.review_epoch = epoch + self._spec.epochs
                again.append(counted)
            else:
                counted.review_epoch = 0
                core.reap.append(counted)
        core.review.extend(again)
        return length

    # -- the end state --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No thread runs: pass epochs until nothing is left to be freed. Takes no time."""
        for core in self._cores:
            for way in sorted(core.objects):
                self._bring(core, way, exact=False)
        for cpu, core in zip(self._machine.cpus, self._cores, strict=True):
            for counted in (*core.review, *core.reap):
                if counted.count:
                    counted.review_epoch = 0
                    continue
                del self.alive[counted.frame]
                self.freed += 1
                self.frames.free_at_once(cpu, counted.frame)
            core.review.clear()
            core.reap.clear()

    def contradictions(self, references: Mapping[Counted, int]) -> Iterator[str]:
        """Each object has as many *references* as it counts, wherever that is counted, and what has none
        is on its way to be freed."""
        kept: Counter[Counted] = Counter()
        held: set[Counted] = set()
        waiting: set[Counted] = set()
        for core in self._cores:
            held.update(core.objects.values())
            for way, counted in core.objects.items():
                kept[counted] += core.deltas[way]
            waiting.update(core.review)
            waiting.update(core.reap)
        for counted in self.alive.values():
            counts, there = counted.count + kept[counted], references.get(counted, 0)
            if counts != there:
                yield f"{counted} counts {counts} references and has {there}"
            if not there and counted not in waiting and counted not in held:
                yield f"{counted} has no references, and nobody is going to free it"
        for counted, there in references.items():
            if self.alive.get(counted.frame) is not counted:
                yield f"{counted} is freed and has {there} references"


def _ignore(end: int) -> None:
    """Nobody waits for the end of a tick."""
