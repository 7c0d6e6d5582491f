"""Whose hold is made of what, and what does a waiter wait for in the end: by arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from machines import (
    CROSS_CLUSTER,
    CROSS_SOCKET,
    NS,
    RMW,
    RWSEM,
    SAME_CLUSTER,
    Body,
    run,
    small_machine,
)

from sim.engine import Activity, Probe, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.hardware.line_kinds import HeardLine, WatchedLine
from sim.mm import FlushSpec, make_flush
from sim.profile import PARTS, Counters, Locks, Objects, tables
from sim.profile.hottest import Hottest
from sim.profile.kinds import kind_of
from sim.profile.objects import Book
from sim.sync import McsLock, Mutex, PhaseFairLock, QueueNodes, RunQueues, RwSem, RwSemTuning, Scheduler

US = 1000 * NS


def machine_of(objects: Objects, **kinds: Any) -> Machine:
    return small_machine(listeners=[objects], **kinds)


def locks_of(machine: Machine, *owners: int) -> list[McsLock]:
    """Locks `lock 0`, `lock 1`, ..., each of whose lines cpu *owners[i]* has."""
    nodes = QueueNodes(machine, "mcs")
    return [
        McsLock(nodes, machine.line(f"lock {n}", owner=owner), Activity(f"lock: {n}"))
        for n, owner in enumerate(owners)
    ]


def after(machine: Machine, objects: Objects, bodies: dict[int, Body]) -> Book:
    """What was counted when *bodies* have run, which take all locks that they want."""
    objects.run_begins(machine.cpus)
    run(machine, bodies)
    objects.run_ends()
    return objects.total


def parts(book: Book, lock: str, mode: str = "write") -> dict[str, int]:
    use = next(use for (name, held, _), use in book.locks.values.items() if (name, held) == (lock, mode))
    assert sum(use.parts.values()) == use.hold
    assert min(use.parts.values()) >= 0
    return {part: time for part, time in use.parts.items() if time}


def holds(lock: McsLock, *inside: Any, begins: int = 0) -> Body:
    """Take *lock* and do what is *inside*: work for a time, or steps of a cpu."""

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(begins, Activity("user"))
        yield from lock.acquire(cpu)
        for each in inside:
            if isinstance(each, int):
                cpu.work(each, Activity("inside"))
            else:
                yield from each(cpu)
        yield from lock.release(cpu)

    return body


def test_is_a_hold_work_and_a_transfer() -> None:
    objects = Objects()
    machine = machine_of(objects)
    (lock,) = locks_of(machine, 0)
    line = machine.line("counter", owner=4)
    book = after(machine, objects, {0: holds(lock, 300 * NS, line.write, 50 * NS, line.write)})
    assert parts(book, "lock 0") == {"work": 350 * NS, "transfer": CROSS_CLUSTER + RMW}
    assert book.holds["lock *", "write", "transfer", "counter"] == CROSS_CLUSTER + RMW
    assert book.holds["lock *", "write", "work", "inside"] == 350 * NS


def test_is_the_root_found_two_locks_away() -> None:
    """Cpu 1 has the inner lock and works 1000 ns. Cpu 0 has the outer one, works 100 ns, waits for the inner
    one and works 50 ns more. Cpu 2 wants the outer one at 10 ns: what it waits for is cpu 1's work."""
    objects = Objects()
    machine = machine_of(objects)
    nodes = QueueNodes(machine, "mcs")
    outer = McsLock(nodes, machine.line("outer", owner=0), Activity("lock: outer"))
    inner = McsLock(nodes, machine.line("inner", owner=1), Activity("lock: inner"))
    book = after(
        machine,
        objects,
        {
            0: holds(outer, 100 * NS, inner.acquire, 50 * NS, inner.release),
            1: holds(inner, 1000 * NS),
            2: holds(outer, 20 * NS, begins=10 * NS),
        },
    )
    waits = 1000 * NS + 3 * SAME_CLUSTER - 100 * NS  # as in test_lock_table.py
    assert parts(book, "outer")["lock wait"] == waits
    of_inner = {key[2:]: time for key, time in book.roots.items() if key[0] == "inner"}
    assert of_inner["inner", "work"] == 1000 * NS - 100 * NS  # what cpu 0 saw of it
    assert of_inner["inner", "hand-over"] == waits - 900 * NS + RMW  # and cpu 1 fetched the free lock
    of_outer = {key[2:]: time for key, time in book.roots.items() if key[0] == "outer"}
    assert of_outer["inner", "work"] == 900 * NS
    assert of_outer["inner", "hand-over"] == waits - 900 * NS
    # Cpu 2 has seen cpu 0 work from 10 ns on, until 102 ns, then 50 ns.
    assert of_outer["outer", "work"] == pytest.approx((102 - 10 + 50) * NS, abs=10 * NS)
    assert book.edges["inner", "write", "outer"] == waits
    assert book.edges["inner", "write", ""] == RMW
    assert sum(of_outer.values()) == book.kinds["outer", "write", "lock: outer"].wait


def test_are_readers_in_nobodys_way_but_a_writers() -> None:
    """Cpu 0 reads for 10 us. Cpu 1 reads meanwhile, and waits for the lock's line alone. Cpu 2 writes:
    it waits for cpu 0, which came first."""
    objects = Objects()
    machine = machine_of(objects)
    lock = PhaseFairLock(QueueNodes(machine, "queue"), machine.line("fair"), Activity("lock"))

    def use(begins: int, inside: int, write: bool, activity: Activity) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(begins, Activity("user"))
            yield cpu.take_pending()
            yield from lock.write_lock(cpu) if write else lock.read_lock(cpu)
            cpu.work(inside, activity)
            yield cpu.take_pending()
            yield from lock.write_unlock(cpu) if write else lock.read_unlock(cpu)

        return body

    bodies = {
        0: use(0, 10 * US, False, Activity("a")),
        1: use(1 * US, 1 * US, False, Activity("b")),
        2: use(4 * US, 5 * US, True, Activity("c")),
    }
    book = after(machine, objects, bodies)
    waits = {(key[1], key[3]): time for key, time in book.roots.items()}
    assert set(waits) == {("read", "hand-over"), ("write", "hand-over"), ("write", "work")}
    assert waits["write", "work"] == pytest.approx((10 - 4) * US, abs=200 * NS)
    assert waits["read", "hand-over"] < 1 * US


@pytest.mark.parametrize(("owner", "distance", "cost"), [(3, "same cluster", SAME_CLUSTER),
                         (7, "same socket", CROSS_CLUSTER), (9, "other socket", CROSS_SOCKET)])  # fmt: skip
def test_how_far_is_a_lock_handed_over(owner: int, distance: str, cost: int) -> None:
    """Cpu *owner* has it first and cpu 0 much later, and again."""
    objects = Objects()
    machine = machine_of(objects)
    (lock,) = locks_of(machine, owner)

    def twice(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        for _ in range(2):
            yield from lock.acquire(cpu)
            yield from lock.release(cpu)

    book = after(machine, objects, {owner: holds(lock, 10 * NS), 0: twice})
    use = book.locks.values["lock 0", "write", "lock: 0"]
    assert use.hand_overs == {distance: 1, "same cpu": 1}
    assert use.wait == RMW + cost + RMW


def test_is_waiting_for_acks_told_from_sending() -> None:
    objects = Objects()
    machine = machine_of(objects, online=4)
    (lock,) = locks_of(machine, 0)
    spec = FlushSpec.model_validate({"method": "ipi", "concurrent": True, "asids": 6})
    flush = make_flush(machine, machine.line("tlb_gen"), spec)
    for cpu in machine.cpus:
        flush.activate(cpu)

    def flushes(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [7, 8])

    def works(cpu: Cpu) -> Steps[None]:
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()

    book = after(machine, objects, {0: holds(lock, 200 * NS, flushes), **dict.fromkeys((1, 2, 3), works)})
    found = parts(book, "lock 0")
    assert set(found) == {"work", "flush", "flush wait"}
    assert found["work"] == 200 * NS
    assert found["flush wait"] == book.spent["ipi wait"]
    assert found["flush"] == book.spent["ipi send"] + book.spent["tlb flush"]


def test_is_a_holder_that_sleeps_asleep() -> None:
    """A device wakes it 30 us later; what the interrupt and the switches take is told apart."""
    objects = Objects()
    machine = machine_of(objects)
    (lock,) = locks_of(machine, 0)
    scheduler = Scheduler(machine)

    def naps(cpu: Cpu) -> Steps[None]:
        yield from scheduler.nap(cpu, 30 * US, Activity("io"))

    book = after(machine, objects, {0: holds(lock, 1 * US, naps)})
    found = parts(book, "lock 0")
    assert set(found) == {"work", "asleep", "scheduling", "interrupt"}
    assert found["work"] == 1 * US
    assert found["asleep"] == book.spent["io"]
    assert found["asleep"] > 25 * US


def test_is_a_holder_that_is_switched_out_asleep() -> None:
    """Two threads share a cpu. One holds a mutex for 9 ms of work, the other works 5 ms and then wants it:
    slices end every 4 ms, so the first one is switched out in between, while the other works."""
    objects = Objects()
    times = {"kernel": {"slice": "3 ms", "tick": "4 ms"}}
    machine = small_machine(times, online=1, listeners=[objects])
    tasks, cpu = RunQueues(machine), machine.cpus[0]
    line, nodes = machine.line("mutex", owner=0), QueueNodes(machine, "osq")
    mutex = Mutex(nodes, line, Scheduler(machine), Activity("lock"))

    def first(cpu: Cpu) -> Steps[None]:
        yield from mutex.acquire(cpu)
        yield from tasks.compute(cpu, 9000 * US, Activity("inside"))
        yield from mutex.release(cpu)

    def second(cpu: Cpu) -> Steps[None]:
        yield from tasks.compute(cpu, 5000 * US, Activity("user"))
        yield from mutex.acquire(cpu)
        yield from mutex.release(cpu)

    objects.run_begins(machine.cpus)
    cpu.open_account()
    tasks.spawn(cpu, first, "first")
    tasks.spawn(cpu, second, "second")
    machine.engine.run()
    cpu.close_account()
    objects.run_ends()
    found = parts(objects.total, "mutex")
    assert found["work"] == 9000 * US
    assert found["asleep"] == pytest.approx(5000 * US, abs=10 * US)


def test_is_zeroing_told_from_work() -> None:
    objects = Objects()
    machine = machine_of(objects)
    (lock,) = locks_of(machine, 0)

    def clears(cpu: Cpu) -> Steps[None]:
        yield from machine.memory.clear_page(cpu, 0)

    book = after(machine, objects, {0: holds(lock, 70 * NS, clears)})
    assert parts(book, "lock 0") == {"work": 70 * NS, "zeroing": book.spent["zero"]}


def test_is_a_downgraded_hold_split_in_two() -> None:
    objects = Objects()
    machine = machine_of(objects)
    tuning = RwSemTuning.model_validate(RWSEM)
    lines = machine.line("count"), machine.line("owner")
    semaphore = RwSem("sem", *lines, QueueNodes(machine, "osq"), Scheduler(machine), Activity("lock"), tuning)

    def body(cpu: Cpu) -> Steps[None]:
        yield from semaphore.write_lock(cpu)
        cpu.work(3 * US, Activity("inside"))
        yield from semaphore.write_downgrade(cpu)
        cpu.work(2 * US, Activity("after"))
        yield from semaphore.read_unlock(cpu)

    book = after(machine, objects, {0: body})
    assert parts(book, "sem", "write") == {"work": 3 * US}
    assert parts(book, "sem", "read")["transfer"] + 2 * US < 2100 * NS
    assert book.holds["sem", "read", "work", "after"] == 2 * US


@pytest.mark.parametrize("rounds", [1, 5])
def test_who_waits_how_long_for_a_line(rounds: int) -> None:
    """Two cpus of a cluster write a line in turn, each 10 us after the other; a third one reads it once."""
    objects = Objects()
    machine = machine_of(objects)
    line = machine.line("shared 7", owner=1)

    def writes(begins: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(begins, Activity("user"))
            for _ in range(rounds):
                yield from line.write(cpu, Activity("counting"))
                cpu.work(20 * US - cpu.pending, Activity("user"))

        return body

    def reads(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from line.read(cpu, Activity("looking"))

    book = after(machine, objects, {0: writes(0), 1: writes(10 * US), 8: reads})
    for use in (book.lines["shared 7"], book.line_kinds["shared *"]):
        assert (use.writes, use.reads, use.cpus.bit_count()) == (2 * rounds, 1, 3)
        assert use.transfers["other socket"] == 2  # the read, and the write that takes its copy away
        assert use.transfers["same cluster"] == 2 * rounds - 1
        assert use.time == 2 * CROSS_SOCKET + (2 * rounds - 1) * SAME_CLUSTER
        assert use.queued == 0
        assert use.users["(none)", "looking"] == CROSS_SOCKET


def test_is_queueing_for_a_line_told_from_its_transfer() -> None:
    """Cpus 0 and 4 want it at once: the second one waits until the first one's transfer is over."""
    objects = Objects()
    machine = machine_of(objects)
    line = machine.line("hot", owner=1)

    def writes(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu, Activity("counting"))

    use = after(machine, objects, {0: writes, 4: writes}).lines["hot"]
    assert use.queued == SAME_CLUSTER
    assert use.time == SAME_CLUSTER + SAME_CLUSTER + CROSS_CLUSTER
    assert use.longest == SAME_CLUSTER + CROSS_CLUSTER


def test_does_a_prefetch_take_nobodys_time() -> None:
    objects = Objects()
    machine = machine_of(objects)
    line = machine.line("next", owner=1)

    def prefetches(cpu: Cpu) -> Steps[None]:
        yield from line.prefetch_write(cpu)
        cpu.work(1 * US, Activity("user"))

    use = after(machine, objects, {0: prefetches}).lines["next"]
    assert (use.time, use.writes, use.transfers["same cluster"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("listeners", "kind"),
    [((), CacheLine), ((Locks(),), CacheLine), ((Counters(),), HeardLine), ((Objects(),), WatchedLine)],
)
def test_does_a_line_tell_only_what_somebody_hears(listeners: tuple[Probe, ...], kind: type) -> None:
    assert type(small_machine(listeners=listeners).line("x")) is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mmap_lock", "mmap_lock"),
        ("vm_lock of 0x1f40", "vm_lock of *"),
        ("L1 table 0x7f0000000000: PTL", "L1 table *: PTL"),
        ("zone 0 lock", "zone * lock"),
        ("i_mmap2", "i_mmap2"),
    ],
)
def test_what_is_the_kind_of_a_lock(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_is_what_counts_most_kept_in_a_full_table() -> None:
    """A heavy key among a thousand light ones, in a table of eight."""
    table: Hottest[int, list[int]] = Hottest(lambda: [0], lambda value: value[0], 8)
    for light in range(1, 1001):
        table[light][0] += 1
        table[0][0] += 100
        assert len(table.values) <= 8
    assert table[0] == [100_000]
    assert table.forgotten > 100


def test_do_the_columns_of_a_hold_sum_to_it() -> None:
    objects = Objects()
    machine = machine_of(objects)
    (lock,) = locks_of(machine, 0)
    line = machine.line("counter", owner=9)
    book = after(machine, objects, {0: holds(lock, 123, line.write), 1: holds(lock, 456, line.write)})
    rows = tables(book)
    kind, single = rows["locks"]
    assert (kind["scope"], kind["lock"], single["scope"], single["lock"]) == (
        "kind",
        "lock *",
        "one",
        "lock 0",
    )
    columns = [f"hold_{part.replace(' ', '_')}_ns" for part in PARTS]
    assert sum(round(1000 * single[column]) for column in columns) == round(1000 * single["hold_ns"])
    assert sum(row["share_of_hold"] for row in rows["holds"]) == pytest.approx(1)
    assert sum(row["share_of_wait"] for row in rows["operations"]) == pytest.approx(1)
