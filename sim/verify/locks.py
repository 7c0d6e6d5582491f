"""The locks under one interface, and random schedules on them.

A schedule is one list of `Turn`s a cpu. In each turn the cpu thinks, takes the lock, checks who else is
inside, works there, and leaves. A lost waiter is a `Deadlock`, an unpaid picosecond an `AccountingError`.

As a program, a schedule is its only round, and the lock its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import Operation
from sim.sync import (
    BravoLock,
    CnaLock,
    Exclusive,
    GrantingRwSem,
    McsLock,
    Mutex,
    PercpuRwSem,
    PhaseFairLock,
    PthreadMutex,
    QueuedSpinLock,
    QueueNodes,
    RangeLock,
    Rcu,
    ReaderWriter,
    RwSem,
    RwSemTuning,
    Scheduler,
    ShardedRwSem,
    SpinningReadersRwSem,
    TasLock,
    TicketLock,
    VisibleReaders,
    WordRwLock,
    WordRwMutex,
    XaddRwSem,
)
from sim.verify.checking import LONGEST, Counts
from sim.verify.machines import RWSEM, Body, run, small_machine
from sim.verify.programs import Program
from sim.verify.variants import Choose

LOCK = Activity("lock")

NS: Final = 1_000
"""Picoseconds."""


class AllWriters:
    """An exclusive lock, which takes everybody as a writer."""

    def __init__(self, lock: Exclusive) -> None:
        self.read_lock = self.write_lock = lock.acquire
        self.read_unlock = self.write_unlock = lock.release


class Drowsy:
    """A sleeping lock whose holders sleep every second time: waiters then do not spin."""

    def __init__(self, lock: Mutex, scheduler: Scheduler) -> None:
        self._lock = lock
        self._scheduler = scheduler
        self._turns = 0
        self.read_lock = self.write_lock
        self.read_unlock = self.write_unlock = lock.release

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self._lock.acquire(cpu)
        self._turns += 1
        if self._turns % 2:
            yield from self._scheduler.nap(cpu, 3_000 * NS, Activity("asleep"))


def mcs(machine: Machine) -> ReaderWriter:
    return AllWriters(McsLock(QueueNodes(machine, "mcs"), machine.line("mcs lock"), LOCK))


def queued_spin(machine: Machine) -> ReaderWriter:
    return AllWriters(QueuedSpinLock(QueueNodes(machine, "qspin"), machine.line("qspinlock"), LOCK))


def cna(machine: Machine, threshold: int = 10_000_000 * NS) -> ReaderWriter:
    return AllWriters(
        CnaLock(QueueNodes(machine, "cna"), machine.line("cna lock"), LOCK, threshold, machine.spec.topology)
    )


def impatient_cna(machine: Machine) -> ReaderWriter:
    """The secondary queue is flushed after a few turns."""
    return cna(machine, threshold=2_000 * NS)


def mutex(machine: Machine) -> ReaderWriter:
    nodes = QueueNodes(machine, "osq")
    return AllWriters(Mutex(nodes, machine.line("mutex"), Scheduler(machine), LOCK))


def drowsy_mutex(machine: Machine) -> ReaderWriter:
    scheduler = Scheduler(machine)
    return Drowsy(Mutex(QueueNodes(machine, "osq"), machine.line("mutex"), scheduler, LOCK), scheduler)


def pthread_mutex(machine: Machine) -> ReaderWriter:
    nodes = QueueNodes(machine, "futex buckets")
    return AllWriters(PthreadMutex(machine, nodes, machine.line("mutex"), Scheduler(machine), LOCK))


def test_and_set(machine: Machine) -> ReaderWriter:
    return AllWriters(TasLock(machine.line("tas lock"), LOCK))


def look_before_set(machine: Machine) -> ReaderWriter:
    return AllWriters(TasLock(machine.line("ttas lock"), LOCK, pause=50 * NS))


def ticket(machine: Machine) -> ReaderWriter:
    return AllWriters(TicketLock(machine.line("ticket lock"), LOCK))


def phase_fair(machine: Machine) -> PhaseFairLock:
    return PhaseFairLock(QueueNodes(machine, "phase-fair"), machine.line("phase-fair lock"), LOCK)


def word_rw(machine: Machine) -> WordRwLock:
    return WordRwLock(machine.line("rwlock"), LOCK)


def word_rwmutex(machine: Machine) -> WordRwMutex:
    return WordRwMutex(machine.line("rwmutex"), Scheduler(machine), LOCK)


def bravo(machine: Machine, inhibit: int = 2000 * NS, address: int = 0, *, slots: int = 1021) -> BravoLock:
    table = VisibleReaders(machine, slots=slots, scan_line=1 * NS, inhibit=inhibit)
    return BravoLock(table, phase_fair(machine), address)


def eager_bravo(machine: Machine) -> BravoLock:
    """The next reader sets the bias again at once."""
    return bravo(machine, inhibit=0)


def crowded_bravo(machine: Machine) -> BravoLock:
    """There are more readers than slots."""
    return bravo(machine, inhibit=0, slots=2)


def rwsem(machine: Machine, handoff_after: int = 4_000_000 * NS) -> ReaderWriter:
    lines = machine.line("count"), machine.line("owner")
    tuning = RwSemTuning.model_validate({**RWSEM, "handoff_after": f"{handoff_after} ps"})
    nodes = QueueNodes(machine, "osq")
    return RwSem("semaphore", *lines, nodes, Scheduler(machine), LOCK, tuning)


def spinning_readers(machine: Machine) -> ReaderWriter:
    lines = machine.line("count"), machine.line("owner")
    tuning = RwSemTuning.model_validate({**RWSEM, "handoff_after": "5 us"})
    nodes = QueueNodes(machine, "osq")
    return SpinningReadersRwSem("semaphore", *lines, nodes, Scheduler(machine), LOCK, tuning)


def xadd_rwsem(machine: Machine, *, owner_spinning: bool = True) -> ReaderWriter:
    nodes = QueueNodes(machine, "osq")
    line = machine.line("semaphore")
    return XaddRwSem("semaphore", line, nodes, Scheduler(machine), LOCK, owner_spinning=owner_spinning)


def granting_rwsem(machine: Machine) -> ReaderWriter:
    nodes = QueueNodes(machine, "osq")
    return GrantingRwSem("semaphore", machine.line("semaphore"), nodes, Scheduler(machine), LOCK)


def sleeping_rwsem(machine: Machine) -> ReaderWriter:
    return xadd_rwsem(machine, owner_spinning=False)


def rwsem_without_wait_lock(machine: Machine) -> ReaderWriter:
    count, owner, nodes = machine.line("count"), machine.line("owner"), QueueNodes(machine, "osq")
    tuning = RwSemTuning.model_validate({**RWSEM, "handoff_after": "20 us", "wait_list": "line"})
    return RwSem("semaphore", count, owner, nodes, Scheduler(machine), LOCK, tuning)


def sharded_rwsem(machine: Machine) -> ReaderWriter:
    """In its global modes."""
    tuning = RwSemTuning.model_validate({**RWSEM, "handoff_after": "20 us"})
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    return ShardedRwSem(machine, "semaphore", nodes, scheduler, LOCK, tuning, machine.cpus[0])


class Overlapping:
    """A range lock of which each cpu takes another range, all of which have one address in common.

    Every third cpu passes through another place first, to read: so there are ranges between those, and two
    may come into the list at different links of it at the same time.
    """

    def __init__(self, lock: RangeLock) -> None:
        self._lock = lock
        self.read_unlock = self.write_unlock = lock.release

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        return self._acquire(cpu, write=True)

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        return self._acquire(cpu, write=False)

    def _acquire(self, cpu: Cpu, *, write: bool) -> Steps[None]:
        kind = cpu.id % 3
        if kind == 2:
            yield from self._lock.acquire(cpu, 10, 20, write=False)
            cpu.work(100 * NS, LOCK)
            yield from self._lock.release(cpu)
        yield from self._lock.acquire(cpu, (0, 30, 25)[kind], 60 + cpu.id, write=write)


def range_lock(machine: Machine) -> ReaderWriter:
    return Overlapping(RangeLock(machine, "ranges", machine.line("ranges"), LOCK))


def impatient_rwsem(machine: Machine) -> ReaderWriter:
    return rwsem(machine, handoff_after=5000 * NS)


def percpu_rwsem(machine: Machine, tick: int = 5_000 * NS) -> PercpuRwSem:
    rcu = Rcu(machine, global_list=False, tick=tick)
    return PercpuRwSem(machine, "per-cpu semaphore", rcu, Scheduler(machine), LOCK)


EXCLUSIVE: list[Callable[[Machine], ReaderWriter]] = [
    mcs,
    queued_spin,
    test_and_set,
    look_before_set,
    ticket,
    cna,
    impatient_cna,
    mutex,
    drowsy_mutex,
    pthread_mutex,
]
SHARED: list[Callable[[Machine], ReaderWriter]] = [
    phase_fair,
    bravo,
    eager_bravo,
    crowded_bravo,
    rwsem,
    impatient_rwsem,
    rwsem_without_wait_lock,
    spinning_readers,
    xadd_rwsem,
    sleeping_rwsem,
    granting_rwsem,
    sharded_rwsem,
    range_lock,
    percpu_rwsem,
    word_rw,
    word_rwmutex,
]


@dataclass(frozen=True, slots=True)
class Turn(Operation):
    """The cpu thinks, takes the lock, to *write* or to read, and stays *inside* (ps each). Then it leaves, or
    *downgrades* first, where the lock knows that, and stays once more as a reader."""

    name = "turn"
    think: int
    write: bool
    inside: int
    downgrades: bool = False


@dataclass
class Inside:
    """Who is inside, and in which order they came in."""

    exclusive: bool
    readers: list[int] = field(default_factory=list)
    writers: list[int] = field(default_factory=list)
    entries: list[tuple[int, bool]] = field(default_factory=list)

    def enter(self, cpu: Cpu, write: bool) -> None:
        (self.writers if write or self.exclusive else self.readers).append(cpu.id)
        self.entries.append((cpu.id, write))
        assert len(self.writers) <= 1, f"writers {self.writers} at once"
        assert not (self.writers and self.readers), f"writer {self.writers} beside readers {self.readers}"

    def leave(self, cpu: Cpu, write: bool) -> None:
        (self.writers if write or self.exclusive else self.readers).remove(cpu.id)


def follow(
    machine: Machine,
    lock: ReaderWriter,
    schedule: Sequence[Sequence[Turn]],
    *,
    exclusive: bool = False,
    inside: Callable[[bool], Inside] = Inside,
    together: Callable[[Machine, Mapping[int, Body]], None] = run,
) -> Inside:
    """Run *schedule* to its end, all threads *together*; every rule that it breaks is an exception."""
    watch = inside(exclusive)

    def body(cpu: Cpu) -> Steps[None]:
        for turn in schedule[cpu.id]:
            cpu.probe.operation_begins(cpu, turn)
            cpu.work(turn.think, Activity("user"))
            write = turn.write
            yield from lock.write_lock(cpu) if write else lock.read_lock(cpu)
            watch.enter(cpu, write)
            yield from stay(cpu, turn)
            watch.leave(cpu, write)
            if write and turn.downgrades and not exclusive and isinstance(lock, RwSem | XaddRwSem):
                write = False
                yield from lock.write_downgrade(cpu)
                watch.enter(cpu, write)
                yield from stay(cpu, turn)
                watch.leave(cpu, write)
            yield from lock.write_unlock(cpu) if write else lock.read_unlock(cpu)
            cpu.probe.operation_ends(cpu, turn)

    def stay(cpu: Cpu, turn: Turn) -> Steps[None]:
        cpu.work(turn.inside, Activity("inside"))
        if cpu.pending:
            yield cpu.take_pending()

    together(machine, dict.fromkeys(range(len(schedule)), body))
    assert len(watch.entries) >= sum(map(len, schedule)), "not everybody came in"
    return watch


def disturb(machine: Machine, cpus: int, until: int = 20_000 * NS) -> None:
    """Interrupt each of the first *cpus* now and then."""
    draw = machine.engine.stream("interrupts").randrange
    for cpu in machine.cpus[:cpus]:
        for _ in range(draw(6)):
            handler = partial(_handler, draw(1, 2_000 * NS))
            machine.engine.call_in(draw(until), partial(cpu.interrupt, handler))


def _handler(length: int, cpu: Cpu) -> tuple[int, Callable[[int], None]]:
    return length, lambda end: None


DELAYS = [0, 1, 2 * NS, 30 * NS, 31 * NS, 100 * NS, 500 * NS, 3_000 * NS, 30_000 * NS]
"""Around the costs of one access, and long enough for sleepers."""


# -- as programs ------------------------------------------------------------------------------------------

LOCKS: Mapping[str, Callable[[Machine], ReaderWriter]] = {
    f"lock {build.__name__.replace('_', '-')}": build for build in (*EXCLUSIVE, *SHARED)
}
"""By the name that verify gives them as designs."""


def draw_turns(choose: Choose, kind: str) -> Program:
    """A few cpus and turns on one lock, crowded or not, perhaps with interrupts."""
    delays = DELAYS[: choose((1, 3, len(DELAYS)))]
    writes = choose(((False, False, False, True), (False, True), (True, True, True, False)))

    def turn() -> Turn:
        return Turn(choose(delays), choose(writes), choose(delays), choose((False, False, True)))

    threads = [[turn() for _ in range(choose((1, 2, 3, 4)))] for _ in range(choose((2, 3, 4, 6, 9)))]
    order = {"rule": choose(("fifo", "random", "cluster-first")), "streak": choose((1, 2, 4))}
    return Program(
        kind,
        "shared",
        [threads],
        ties=choose(("fifo", "shuffle", "shuffle", "priority")),
        seed=choose(range(1000)),
        changes={"interrupts": choose((0, 2_000 * NS, 50_000 * NS))},
        machine={"coherence": {"order": order}},
    )


def check_turns(program: Program, listeners: Sequence[Any] = (), inside: type[Inside] = Inside) -> Counts:
    """Run the turns of *program* on its lock. Raises as `follow` does."""
    machine = small_machine(
        program.machine, ties=program.schedule, seed=program.seed, listeners=listeners, max_events=LONGEST
    )
    schedule = [
        [each for each in turns if isinstance(each, Turn)] for threads in program.rounds for turns in threads
    ]
    if until := program.changes.get("interrupts", 0):
        disturb(machine, len(schedule), until)
    build = LOCKS[program.kind]
    follow(machine, build(machine), schedule, exclusive=build in EXCLUSIVE, inside=inside)
    return Counts(sum(map(len, schedule)), machine.engine.events)
