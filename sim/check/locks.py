"""Who has which lock and who wants which: exclusion, order, and waits without an end.

    wait ... acquired | ... | release          each lock that has a name tells these (`sim.sync.lock`)
                       downgraded

What is told lies inside what is so: a lock is told to be held after it was granted, and let go before others
can have it. So two holders that are told at once really are two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sim.check.order import LockOrder
from sim.check.violation import Stuck
from sim.engine import Probe
from sim.quantities import PS_PER_S, format_duration

if TYPE_CHECKING:
    from sim.check.scene import Flight, Scene
    from sim.engine import Engine
    from sim.engine.probe import CallView, CpuView, LockView, Mode

EXCLUSION: Final = "a lock excludes"
HOLDER: Final = "a lock is released by who holds it"
DOWNGRADE: Final = "who turns a write hold into a read hold has it for writing"
COUNTED: Final = "a lock counts the readers that it has (I3)"
LEFT: Final = "no lock is held when all threads have ended"
PROGRESS: Final = "every wait and every operation comes to an end (I15)"


@dataclass(frozen=True)
class Bounds:
    """What is still patience: beyond it a wait is starvation, and an operation that goes on a livelock."""

    passed_over: int = 100_000
    """Times that others have got a lock while somebody waits for it."""
    waiting: int = PS_PER_S
    """Ps that somebody waits for a lock, while others end operations."""
    retries: int = 50_000
    """Acquisitions within an operation, and `a_page` for each of its pages beside."""
    a_page: int = 64
    unknown: int = 20_000_000
    """Acquisitions within an operation that does not say its pages, and in a row without any that ends."""
    look_every: int = 4096
    """Acquisitions between two looks at all who wait."""


class Wait:
    """*task* on *cpu* wants *lock* since *since*, when it had been granted *granted* times; *tried*: only if
    that takes no waiting. *outer* is what it waits for beside: this lock is a part of that one."""

    __slots__ = ("cpu", "granted", "lock", "mode", "outer", "since", "task", "tried")

    def __init__(
        self, task: object, cpu: CpuView, lock: LockView, mode: Mode, granted: int, tried: bool
    ) -> None:
        self.task = task
        self.cpu = cpu
        self.lock = lock
        self.mode = mode
        self.outer: Wait | None = None
        self.since = cpu.now
        self.granted = granted
        self.tried = tried


class Locks(Probe):
    """Every lock obeys its mode's exclusion, is released by who holds it, and is taken in one order.

    *waits* has what each thread waits for, *calls* the calls by IPI that are not answered yet, *asleep* why a
    thread sleeps.
    """

    def __init__(self, scene: Scene, bounds: Bounds | None = None) -> None:
        self._scene = scene
        self._bounds = bounds or Bounds()
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        table = self._scene.locks
        self._table, self._holders, self._held, self._cpu_of = table, table.holders, table.held, table.cpu_of
        self.order = LockOrder(self._scene)
        self.waits: dict[object, Wait] = {}
        self.calls: dict[CallView, set[CpuView]] = {}
        self.asleep: dict[object, str] = {}
        self._again: dict[tuple[LockView, object], int] = {}
        self._granted: dict[LockView, int] = {}
        self._tried: CpuView | None = None
        self._until_look = self._bounds.look_every
        self._since_end = (0, 0)
        self._acquired = 0

    # -- what is told ---------------------------------------------------------------------------------------

    def lock_tried(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self._tried = cpu

    def lock_wait(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        task = cpu.current
        tried, self._tried = self._tried is cpu, None
        if not tried:
            held = self._held.get(task)
            if held:
                if lock in held and ("write" in (mode, held[lock])):
                    what = f"{task} wants {lock.name} ({mode}) and has it already ({held[lock]})"
                    self._scene.fail(EXCLUSION, what, cpu)
                if lock in self._granted:
                    self.order.wants(cpu, lock, held)
        wait = Wait(task, cpu, lock, mode, self._granted.get(lock, 0), tried)
        if task in self.waits:
            wait.outer = self.waits[task]
        self.waits[task] = wait
        if not tried and lock in self._holders and (circle := self._circle_from(task)):
            self._stuck("deadlock: " + "; ".join(map(self._told, circle)), *(wait.cpu for wait in circle))

    def lock_missed(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self._end_wait(cpu.current)

    def _end_wait(self, task: object) -> None:
        wait = self.waits.pop(task, None)
        if wait is not None and wait.outer is not None:
            self.waits[task] = wait.outer

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        task, scene = cpu.current, self._scene
        self._end_wait(task)
        self.asleep.pop(task, None)
        holders = self._holders.get(lock)
        if holders is None:
            self._holders[lock] = {task: mode}
        else:
            if mode == "write" or "write" in holders.values():
                self._two(lock, cpu, mode, holders)
            if task in holders:
                self._again[lock, task] = self._again.get((lock, task), 0) + 1
            holders[task] = mode
        held = self._held.get(task)
        if held is None:
            held = self._held[task] = {}
            self._cpu_of[task] = cpu
        held[lock] = mode
        if mode == "read":
            self._are_counted(lock, cpu)
        self._granted[lock] = self._granted.get(lock, 0) + 1
        scene.note(cpu, "has got to write" if mode == "write" else "has got to read", lock)
        self._acquired += 1
        if (flight := scene.flights.get(task)) is not None:
            taken = flight.taken = flight.taken + 1
            if taken > self._bounds.retries:
                self._is_endless(flight, cpu)
        self._until_look -= 1
        if not self._until_look:
            self._until_look = self._bounds.look_every
            self._look(cpu)

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        task = cpu.current
        self._scene.note(cpu, "releases", lock)
        holders = self._holders.get(lock)
        if holders is None or holders.get(task) != mode:
            has = None if holders is None else holders.get(task)
            what = f"{task} releases {lock.name} ({mode})"
            what += ", which it has not" if has is None else f", which it has to {has}"
            self._scene.fail(HOLDER, f"{what}: {self._table.who(lock)}", cpu)
        if mode == "read":
            self._are_counted(lock, cpu)
        if self._again and (again := self._again.get((lock, task))):
            self._again[lock, task] = again - 1
            return
        del holders[task]
        if not holders:
            del self._holders[lock]
        self._held[task].pop(lock, None)

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        task = cpu.current
        self._scene.note(cpu, "downgrades", lock)
        if self._table.mode(lock, task) != "write":
            self._scene.fail(DOWNGRADE, f"{task} downgrades {lock.name}: {self._table.who(lock)}", cpu)
        self._holders[lock][task] = self._held[task][lock] = "read"

    def ipi_call(self, call: CallView) -> None:
        self.calls[call] = set(call.targets)

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        if (left := self.calls.get(call)) is not None:
            left.discard(cpu)
            if not left:
                del self.calls[call]

    def wake(self, waker: CpuView | None, cpu: CpuView, latency: int) -> None:
        if self.asleep.pop(cpu.current, None) is None:
            for task in [task for task in self.asleep if self._cpu_of[task] is cpu][:1]:
                del self.asleep[task]

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.asleep[cpu.current] = reason
        self._cpu_of[cpu.current] = cpu

    def _are_counted(self, lock: Any, cpu: CpuView) -> None:
        """*cpu* is inside: a reader is counted before it is told, and until it is told that it leaves."""
        readers, counted = len(self._holders[lock]), lock.counted()
        if counted is not None and counted < readers:
            self._scene.fail(COUNTED, f"{lock.name} counts {counted} of {self._table.who(lock)}", cpu)
        if not lock.knows(cpu):
            what = f"{cpu.current} reads under {lock.name}, and a writer would not wait for it"
            self._scene.fail(COUNTED, what, cpu)

    def run_ends(self) -> None:
        for each in self._granted:
            lock: Any = each
            if lock not in self._holders and lock.counted():
                self._scene.fail(COUNTED, f"{lock.name} counts {lock.counted()} readers and has none")
        for lock, holders in self._holders.items():
            task = next(iter(holders))
            self._scene.fail(LEFT, f"{task} has {lock.name} ({holders[task]})", self._cpu_of[task])

    # -- exclusion ------------------------------------------------------------------------------------------

    def _two(self, lock: LockView, cpu: CpuView, mode: Mode, holders: dict[object, Mode]) -> None:
        """*holders* have *lock*, one of them for writing, or *cpu* has just got it so."""
        task = cpu.current
        for other, its in holders.items():
            if mode == "write" or its == "write":
                what = f"{task} has got {lock.name} ({mode}) while {other} has it ({its})"
                self._scene.fail(EXCLUSION, what, cpu, self._cpu_of[other])

    # -- circles --------------------------------------------------------------------------------------------

    def _circle_from(self, task: object) -> list[Wait]:
        """Waits, the first that of *task*, each for a lock that the thread of the next one has, and the last
        one's for one that *task* has. Empty if there is no such circle.

        A reader that waits behind readers is left out: it may have been let in and not know it yet.
        """
        ways = [[self.waits[task]]]
        seen = {task}
        while ways:
            way = ways.pop()
            wait = way[-1]
            for holder, mode in self._holders.get(wait.lock, {}).items():
                if "write" not in (mode, wait.mode):
                    continue
                if holder is task:
                    return way
                following = self.waits.get(holder)
                if following is not None and not following.tried and holder not in seen:
                    seen.add(holder)
                    ways.append([*way, following])
        return []

    def _told(self, wait: Wait) -> str:
        return f"{wait.task} has {self._table.names(wait.task)} and waits for {wait.lock.name}"

    # -- patience -------------------------------------------------------------------------------------------

    def _is_endless(self, flight: Flight, cpu: CpuView) -> None:
        bounds = self._bounds
        most = bounds.unknown
        if flight.pages is not None:
            most = bounds.retries + bounds.a_page * len(flight.pages)
        if flight.taken > most:
            what = f"livelock: {cpu.current} has taken {flight.taken} locks in one operation"
            self._stuck(what, cpu)

    def _look(self, cpu: CpuView) -> None:
        """At all who wait, and whether anything ends at all."""
        bounds, now = self._bounds, cpu.now
        ended, then = self._since_end
        if self._scene.ended != ended:
            self._since_end = (self._scene.ended, self._acquired)
        elif self._acquired - then > bounds.unknown:
            self._stuck(f"livelock: no operation has ended in {self._acquired - then} acquisitions", cpu)
        for wait in self.waits.values():
            passed = self._granted.get(wait.lock, 0) - wait.granted
            long = now - wait.since > bounds.waiting
            if passed > bounds.passed_over or (long and (passed or wait.lock not in self._holders)):
                what = (
                    f"starvation: {wait.task} waits for {wait.lock.name} ({wait.mode}) for "
                    f"{format_duration(now - wait.since)}, others got it {passed} times meanwhile, "
                    f"and {self._table.who(wait.lock)}"
                )
                self._stuck(what, wait.cpu)

    def _stuck(self, what: str, *cpus: CpuView) -> None:
        told = "; ".join(self._scene.circumstances(*cpus))
        raise Stuck(f"{PROGRESS}: {what}; {told}")
