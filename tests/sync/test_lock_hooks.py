"""What do locks tell those who listen, and does listening change what they do?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from locks import EXCLUSIVE, SHARED, bravo, disturb, follow, percpu_rwsem, phase_fair, random_schedule, rwsem
from machines import NS, run, small_machine
from test_exclusion import Build

from sim.engine import QUIET, Activity, Probe, Steps, listen
from sim.engine.probe import HOOKS, Mode
from sim.hardware import Cpu
from sim.sync import QueuedSpinLock, QueueNodes, RwSem, Scheduler, SeqLock, XaddRwSem

US = 1000 * NS
ALL = pytest.mark.parametrize("build", EXCLUSIVE + SHARED, ids=lambda build: build.__name__)
IN_PARTS = {"sharded_rwsem", "range_lock"}
"""Those that tell of each shard, or of each range, by itself."""
AS_ONE = pytest.mark.parametrize(
    "build",
    [build for build in EXCLUSIVE + SHARED if build.__name__ not in IN_PARTS],
    ids=lambda build: build.__name__,
)


class Holders(Probe):
    """Who holds which lock: everybody takes what it waited for, and nobody beside a writer."""

    def __init__(self) -> None:
        self.waiting: set[tuple[str, int, Mode]] = set()
        self.holding: dict[str, list[tuple[int, Mode]]] = {}
        self.taken: Counter[tuple[str, Mode]] = Counter()

    def lock_wait(self, lock: Any, cpu: Any, mode: Mode) -> None:
        assert (lock.name, cpu.id, mode) not in self.waiting
        self.waiting.add((lock.name, cpu.id, mode))

    def lock_acquired(self, lock: Any, cpu: Any, mode: Mode) -> None:
        self.waiting.remove((lock.name, cpu.id, mode))
        holders = self.holding.setdefault(lock.name, [])
        assert not holders or (mode == "read" and all(held == "read" for _, held in holders))
        holders.append((cpu.id, mode))
        self.taken[lock.name, mode] += 1

    def lock_missed(self, lock: Any, cpu: Any, mode: Mode) -> None:
        self.waiting.remove((lock.name, cpu.id, mode))

    def lock_release(self, lock: Any, cpu: Any, mode: Mode) -> None:
        self.holding[lock.name].remove((cpu.id, mode))

    def lock_downgraded(self, lock: Any, cpu: Any) -> None:
        self.lock_release(lock, cpu, "write")
        self.holding[lock.name].append((cpu.id, "read"))


@AS_ONE
@pytest.mark.parametrize("seed", range(8))
def test_does_every_lock_tell_of_every_hold_and_of_none_too_many(build: Build, seed: int) -> None:
    listener = Holders()
    machine = small_machine(seed=seed, listeners=[listener])
    disturb(machine, 6)
    schedule = random_schedule(machine, 6, 6, 0.4)
    exclusive = build in EXCLUSIVE
    follow(machine, build(machine), schedule, exclusive=exclusive)
    turns = Counter("write" if turn.write or exclusive else "read" for turns in schedule for turn in turns)
    taken: Counter[str] = Counter()
    for (name, mode), times in listener.taken.items():
        # locks of their own: inside the older semaphore, and in the kernel for the mutex of user programs
        if not name.endswith(": wait_lock") and not name.startswith("futex bucket"):
            taken[mode] += times
    assert taken == turns
    assert not listener.waiting
    assert not any(listener.holding.values())


@ALL
@pytest.mark.parametrize("seed", range(4))
def test_is_a_run_the_same_with_and_without_listeners(build: Build, seed: int) -> None:
    def outcome(*listeners: Probe) -> Any:
        machine = small_machine(seed=seed, ties="shuffle", listeners=listeners)
        watch = follow(
            machine, build(machine), random_schedule(machine, 6, 6, 0.4), exclusive=build in EXCLUSIVE
        )
        spent = [dict(cpu.spent) for cpu in machine.cpus[:6]]
        return watch.entries, machine.engine.events, machine.engine._now, spent

    class Everything(Holders):
        def charge(self, cpu: Any, activity: str, cost: int) -> None:
            """Lets charges be told."""

        def line_transfer(self, *transfer: Any) -> None:
            """Lets transfers be told."""

    assert outcome() == outcome(Everything())


def test_are_the_parts_of_a_lock_silent() -> None:
    """A BRAVO lock is a phase-fair lock, that has an MCS lock; a seqlock has a spin lock."""
    listener = Holders()
    machine = small_machine(listeners=[listener])
    nodes = QueueNodes(machine, "queue")
    biased, fair, sequence = (
        bravo(machine),
        phase_fair(machine),
        SeqLock(nodes, machine.line("seq"), Activity("lock")),
    )

    def body(cpu: Cpu) -> Steps[None]:
        for lock in (biased, fair, sequence):
            yield from lock.write_lock(cpu)
            yield from lock.write_unlock(cpu)
        yield from biased.read_lock(cpu)
        yield from biased.read_unlock(cpu)

    run(machine, {0: body})
    assert listener.taken == {
        ("phase-fair lock", "write"): 2,  # the biased one goes by the name of what it is made of
        ("phase-fair lock", "read"): 1,
        ("seq", "write"): 1,
    }


def test_is_a_lock_named_after_what_it_guards() -> None:
    machine = small_machine()
    nodes, scheduler = QueueNodes(machine, "queue"), Scheduler(machine)
    line = machine.line("count of x")
    semaphore: Any = rwsem(machine)
    assert QueuedSpinLock(nodes, line, Activity("lock")).name == "count of x"
    assert QueuedSpinLock(nodes, line, Activity("lock"), "zone 1").name == "zone 1"
    assert semaphore.read_lock.__self__.name == "semaphore"
    assert percpu_rwsem(machine).name == "per-cpu semaphore"
    assert XaddRwSem("old", line, nodes, scheduler, Activity("lock"))._wait_lock.name == "old: wait_lock"


def test_are_missed_and_downgraded_holds_told() -> None:
    told: list[tuple[str, int, str]] = []

    class Told(Probe):
        def lock_wait(self, lock: Any, cpu: Any, mode: Mode) -> None:
            told.append(("wait", cpu.id, mode))

        def lock_acquired(self, lock: Any, cpu: Any, mode: Mode) -> None:
            told.append(("acquired", cpu.id, mode))

        def lock_missed(self, lock: Any, cpu: Any, mode: Mode) -> None:
            told.append(("missed", cpu.id, mode))

        def lock_downgraded(self, lock: Any, cpu: Any) -> None:
            told.append(("downgraded", cpu.id, "read"))

        def lock_release(self, lock: Any, cpu: Any, mode: Mode) -> None:
            told.append(("release", cpu.id, mode))

    machine = small_machine(listeners=[Told()])
    semaphore: RwSem = rwsem(machine).read_lock.__self__  # type: ignore[attr-defined]

    def downgrades(cpu: Cpu) -> Steps[None]:
        yield from semaphore.write_lock(cpu)
        cpu.work(10 * US, Activity("inside"))
        yield from semaphore.write_downgrade(cpu)
        cpu.work(10 * US, Activity("inside"))
        yield from semaphore.read_unlock(cpu)

    def tries(cpu: Cpu) -> Steps[None]:
        for time, expected in ((5, False), (15, True)):
            cpu.work(time * US - cpu.now, Activity("user"))
            assert (yield from semaphore.read_trylock(cpu)) is expected
        yield from semaphore.read_unlock(cpu)

    run(machine, {0: downgrades, 1: tries})
    assert [event for event in told if event[1] == 0] == [
        ("wait", 0, "write"),
        ("acquired", 0, "write"),
        ("downgraded", 0, "read"),
        ("release", 0, "read"),
    ]
    assert [event for event in told if event[1] == 1] == [
        ("wait", 1, "read"),
        ("missed", 1, "read"),
        ("wait", 1, "read"),
        ("acquired", 1, "read"),
        ("release", 1, "read"),
    ]


def test_do_locks_speak_only_to_those_who_listen_to_locks() -> None:
    """Who listens to something else, as each run's idle time does, costs locks nothing."""

    class Idle(Probe):
        def idle_begins(self, cpu: Any) -> None: ...

    class Downgrades(Probe):
        def lock_downgraded(self, lock: Any, cpu: Any) -> None: ...

    assert not QUIET.hears_locks
    assert not listen(Idle()).hears_locks
    assert not listen(Idle(), Idle()).hears_locks
    assert listen(Downgrades()).hears_locks
    assert listen(Idle(), Downgrades()).hears_locks
    assert "hears_locks" not in HOOKS
