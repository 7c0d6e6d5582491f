"""What do readers of a biased lock write, and what does a writer pay for that?"""

from __future__ import annotations

from collections import Counter

import pytest
from locks import LOCK, Turn, bravo, follow, phase_fair
from machines import CROSS_SOCKET, HIT, NS, RMW, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import BravoLock, VisibleReaders

US = 1000 * NS
SCAN = 128 * NS
"""128 lines of the table at 1 ns."""
FAR_APART = 1 << 17
"""Addresses in different 64 KiB blocks hash to different slots."""


def biased(machine: Machine, inhibit: int = 100 * US) -> BravoLock:
    """A lock whose bias the first reader (cpu 0) has set."""
    lock = bravo(machine, inhibit)
    follow(machine, lock, [[Turn(0, False, 0)]])
    assert lock.bias
    return lock


def reader(lock: BravoLock, inside: int, entered: dict[int, int] | None = None, after: int = 0) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        yield from lock.read_lock(cpu)
        if entered is not None:
            entered[cpu.id] = cpu.now
        cpu.work(inside, Activity("inside"))
        yield cpu.take_pending()
        yield from lock.read_unlock(cpu)

    return body


def writer(lock: BravoLock, entered: dict[int, int], after: int = 0) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        yield from lock.write_lock(cpu)
        assert lock.writer is cpu
        entered[cpu.id] = cpu.now
        yield from lock.write_unlock(cpu)

    return body


# -- readers --------------------------------------------------------------------------------------------


def test_do_biased_readers_leave_the_locks_line_alone() -> None:
    machine = small_machine()
    lock = biased(machine)
    held = []
    machine.engine.call_in(5 * US, lambda: held.append((lock.readers, lock.underlying.readers)))
    run(machine, dict.fromkeys(range(16), reader(lock, 10 * US)))
    assert held == [(16, 0)]
    assert lock.readers == 0
    assert lock.underlying.line.sharers == (1 << 16) - 1  # everybody has loaded the bias, nobody has written


def test_what_does_a_biased_turn_cost_on_the_cpus_own_lines() -> None:
    machine = small_machine()
    lock = biased(machine)
    run(machine, {0: reader(lock, 0)})
    run(machine, {0: reader(lock, 0)})
    assert machine.cpus[0].spent[LOCK] == HIT + RMW + HIT + RMW  # bias, slot, bias again, slot


def test_can_a_cpu_hold_several_locks_for_reading() -> None:
    machine = small_machine()
    first = biased(machine)
    locks = [first, *(BravoLock(first.table, phase_fair(machine), FAR_APART * n) for n in (1, 2))]
    for lock in locks:
        lock.bias = True

    def body(cpu: Cpu) -> Steps[None]:
        for lock in locks:
            yield from lock.read_lock(cpu)
        assert [lock.readers for lock in locks] == [1, 1, 1]
        assert sum(entry is not None for entry in first.table.slots) == 3
        for lock in locks:
            yield from lock.read_unlock(cpu)
        assert not any(first.table.slots)

    run(machine, {3: body})


@pytest.mark.parametrize("inner_first", [True, False])
def test_does_a_second_lock_in_the_same_slot_go_through_the_lock_itself(inner_first: bool) -> None:
    """Locks within 64 KiB of each other hash to the same slot of a cpu."""
    machine = small_machine()
    outer = biased(machine)
    inner = BravoLock(outer.table, phase_fair(machine), address=64)
    inner.bias = True

    def body(cpu: Cpu) -> Steps[None]:
        yield from outer.read_lock(cpu)
        yield from inner.read_lock(cpu)
        assert (outer.underlying.readers, inner.underlying.readers) == (0, 1)
        for lock in (inner, outer) if inner_first else (outer, inner):
            yield from lock.read_unlock(cpu)
        assert (outer.readers, inner.readers) == (0, 0)

    run(machine, {0: body})


def test_how_many_cpus_share_a_line_of_the_table() -> None:
    """384 cpus sign in 384 slots, at most four of them on a line; each of 64 cpus has a line of its own."""
    machine = small_machine({"topology": {"clusters_per_socket": 12, "cores_per_cluster": 16}})
    table = VisibleReaders(machine, slots=1021, scan_line=1, inhibit=1)
    slots = [table.slot_of(cpu, address=0x12345) for cpu in machine.cpus]
    assert len(set(slots)) == 384
    assert max(Counter(slot // 8 for slot in slots).values()) == 4
    assert max(Counter(slot // 8 for slot in slots[:64]).values()) == 1


# -- writers --------------------------------------------------------------------------------------------


def test_does_a_writer_scan_the_table_only_if_the_bias_is_set() -> None:
    machine = small_machine()
    lock = biased(machine)
    spent = []
    for _ in range(2):
        run(machine, {0: writer(lock, {})})
        spent.append(machine.cpus[0].spent[LOCK])
    # Clearing the bias, the scan, and nothing else: the only signature was never written.
    assert spent == [7 * RMW + HIT + SCAN, 6 * RMW + HIT]
    assert machine.tally.revocations == 1


def test_does_the_scan_fetch_the_lines_that_readers_have_written() -> None:
    machine = small_machine()
    lock = biased(machine)
    run(machine, {8: reader(lock, 0), 9: reader(lock, 0)})
    run(machine, {0: writer(lock, {})})
    scanned = machine.cpus[0].spent[LOCK]
    lock.bias = True
    run(machine, {0: writer(lock, {})})
    # The lock's line was shared with cpus 8 and 9, and their two lines of the table were theirs.
    assert scanned - machine.cpus[0].spent[LOCK] == CROSS_SOCKET - RMW + 2 * CROSS_SOCKET


def test_does_a_writer_wait_for_the_readers_that_have_signed() -> None:
    machine = small_machine()
    lock = biased(machine)
    began = machine.engine.now
    entered: dict[int, int] = {}
    run(
        machine,
        {1: reader(lock, 20 * US), 9: reader(lock, 50 * US), 4: writer(lock, entered, after=2 * US)},
    )
    assert 50 * US < entered[4] - began < 51 * US


def test_does_a_writer_not_wait_for_the_readers_of_other_locks() -> None:
    machine = small_machine()
    lock = biased(machine)
    other = BravoLock(lock.table, phase_fair(machine), address=64)  # the same slots
    other.bias = True
    entered: dict[int, int] = {}
    began = machine.engine.now
    run(machine, {1: reader(other, 50 * US), 4: writer(lock, entered, after=2 * US)})
    assert entered[4] - began < 4 * US


def test_do_readers_wait_for_a_writer_that_revokes() -> None:
    machine = small_machine()
    lock = biased(machine)
    entered: dict[int, int] = {}
    run(
        machine,
        {
            1: reader(lock, 20 * US),
            4: writer(lock, entered, after=2 * US),
            9: reader(lock, 0, entered, after=5 * US),
        },
    )
    assert entered[9] > entered[4]


def test_does_the_bias_stay_off_for_the_inhibition_and_then_return() -> None:
    machine = small_machine()
    lock = biased(machine, inhibit=100 * US)
    run(machine, {0: writer(lock, {})})
    seen = []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(4):
            cpu.work(40 * US, Activity("user"))
            yield from lock.read_lock(cpu)
            seen.append((lock.bias, lock.underlying.readers))
            yield from lock.read_unlock(cpu)

    run(machine, {0: body})
    # After 40 and 80 us not yet; at 120 us this reader sets it; at 160 us it is used.
    assert seen == [(False, 1), (False, 1), (True, 1), (True, 0)]


def test_does_a_reader_that_signs_too_late_step_back() -> None:
    """The writer clears the bias between the reader's two looks at it."""
    machine = small_machine()
    lock = biased(machine)
    slot_line = lock.table.line_of(lock.table.slot_of(machine.cpus[9], 0))
    entered: dict[int, int] = {}
    seen = set()
    for when in range(0, 2 * US, 10 * NS):
        machine.engine.call_in(when, lambda: seen.add((lock.bias, lock.readers)))

    def busy_slot(cpu: Cpu) -> Steps[None]:
        """Keeps the slot's line, so that the reader's compare-and-swap takes a while."""
        for _ in range(20):
            yield from slot_line.write(cpu, Activity("user"))

    run(
        machine,
        {0: writer(lock, entered, after=300 * NS), 8: busy_slot, 1: busy_slot, 9: reader(lock, 0, entered)},
    )
    assert (False, 1) in seen  # signed in vain
    assert entered[9] > entered[0]
    assert not any(lock.table.slots)
    assert lock.readers == 0
