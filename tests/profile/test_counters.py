"""Do the counters count what happened, and in the right part of the run?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import NS, RWSEM, SIBLINGS, Body, run, small_machine

from sim.engine import Activity, Steps, listen
from sim.hardware import Cpu, Machine
from sim.mm import FlushSpec, make_flush
from sim.profile import COUNTERS, IDLE, Counters, Locks
from sim.sync import QueueNodes, RwSem, RwSemTuning, Scheduler

US = 1000 * NS


def counted(machine: Machine, counters: Counters, bodies: dict[int, Body]) -> dict[str, float]:
    """What is not zero in the report of a run of *bodies* on the cpus that are online."""
    counters.run_begins(machine.cpus)
    run(machine, bodies)
    counters.run_ends()
    return {name: value for name, value in counters.report().items() if value}


def works(time: int) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(time, Activity("user"))
        yield cpu.take_pending()

    return body


def test_does_a_shootdown_of_three_cpus_send_handle_and_acknowledge_three_ipis() -> None:
    counters = Counters()
    machine = small_machine(online=4, listeners=[counters])
    flush = make_flush(
        machine,
        machine.line("tlb_gen"),
        FlushSpec.model_validate({"method": "ipi", "concurrent": True, "asids": 6}),
    )
    for cpu in machine.cpus:
        flush.activate(cpu)

    def flushes(cpu: Cpu) -> Steps[None]:
        yield from flush.flush(cpu, [7, 8])

    found = counted(machine, counters, {0: flushes, **dict.fromkeys((1, 2, 3), works(20 * US))})
    del found[IDLE]
    assert found == {
        "interrupts": 3,
        "ipi calls": 3,
        "ipis sent": 3,
        "ipis handled": 3,
        "ipi acks": 3,
        "flushes": 1,
        "tlb flushes: pages": 4,  # the initiator's own and three others
        "tlb flushes: for another cpu": 3,
        "tlb pages dropped": 8,
        "transfers: memory": 1,  # tlb_gen
        # Each target's queue, to the sender and back; to each target, what the call is about and tlb_gen.
        "transfers: same cluster": 3 + 3 + 3 + 3,
    }


def test_is_a_line_from_a_sibling_no_transfer() -> None:
    counters = Counters()
    machine = small_machine(SIBLINGS, listeners=[counters])
    line = machine.line("line", owner=16)

    def writes(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)

    assert counted(machine, counters, {0: writes}) == {"lines from a sibling": 1}


@pytest.mark.parametrize("readers", [1, 4, 7])
def test_does_each_reader_behind_a_writer_sleep_once(readers: int) -> None:
    """Its cpu switches away and back, and idles in between."""
    counters, locks = Counters(), Locks()
    machine = small_machine(online=8, listeners=[counters, locks])
    lines = machine.line("count"), machine.line("owner")
    tuning = RwSemTuning.model_validate(RWSEM)
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    semaphore = RwSem("semaphore", *lines, nodes, scheduler, Activity("lock"), tuning)

    def writer(cpu: Cpu) -> Steps[None]:
        yield from semaphore.write_lock(cpu)
        cpu.work(50 * US, Activity("inside"))
        yield cpu.take_pending()
        yield from semaphore.write_unlock(cpu)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US, Activity("user"))
        yield from semaphore.read_lock(cpu)
        cpu.work(5 * US, Activity("inside"))
        yield cpu.take_pending()
        yield from semaphore.read_unlock(cpu)

    bodies: dict[int, Body] = {0: writer, **dict.fromkeys(range(1, readers + 1), reader)}
    found = counted(machine, counters, bodies)
    assert (found["sleeps"], found["wake-ups"]) == (readers, readers)
    assert found["context switches"] == 2 * readers


def test_is_the_idle_share_the_time_without_a_thread() -> None:
    """Of 40 us, cpu 0 works all, cpu 1 half and cpu 2 a quarter."""
    counters = Counters()
    machine = small_machine(online=3, listeners=[counters])
    found = counted(machine, counters, {0: works(40 * US), 1: works(20 * US), 2: works(10 * US)})
    assert found == {IDLE: pytest.approx((20 + 30) / (3 * 40))}


@pytest.mark.parametrize(("works_for", "idle"), [(20, 10), (5, 20), (35, 0)])
def test_is_idle_time_split_where_the_window_begins_and_ends(works_for: int, idle: int) -> None:
    """Cpu 1 idles when it has worked; the window is from 10 us to 30 us."""
    counters = Counters()
    machine = small_machine(online=2, listeners=[counters])
    for time in (10 * US, 30 * US):
        machine.engine.call_in(time, counters.turn_page)
    found = counted(machine, counters, {0: works(40 * US), 1: works(works_for * US)})
    assert found.get(IDLE, 0) == pytest.approx(idle / (2 * 20))


@pytest.mark.parametrize(("turns", "expected"), [([], 6), ([25, 55], 3), ([0, 45], 4)])
def test_does_only_the_window_count(turns: list[int], expected: int) -> None:
    """An atomic on an own line each 10 us; the set-up before the start counts never."""
    counters = Counters()
    machine = small_machine(online=1, listeners=[counters])
    line = machine.line("x", owner=0)

    def adds(cpu: Cpu) -> Steps[None]:
        for time in range(1, 7):
            cpu.work(time * 10 * US - (cpu.now - start), Activity("user"))
            yield from line.write(cpu)

    start = 0
    run(machine, {0: adds})
    start = machine.engine._now
    for time in turns:
        machine.engine.call_in(time * US, counters.turn_page)
    assert counted(machine, counters, {0: adds})["atomics on own lines"] == expected


def test_are_the_runs_of_a_point_added_up() -> None:
    counters = Counters()
    for _ in range(3):
        machine = small_machine(online=2, listeners=[counters])
        line = machine.line("x")

        def writes(cpu: Cpu, line: Any = line) -> Steps[None]:
            yield from line.write(cpu)

        found = counted(machine, counters, {0: writes, 1: works(80 * NS)})
    assert found["transfers: memory"] == 3
    assert found.get(IDLE, 0.0) == pytest.approx(0.0)


def test_has_the_report_every_counter_and_in_order() -> None:
    assert list(Counters().report()) == [*COUNTERS, IDLE]


def test_do_counters_and_locks_listen_together() -> None:
    counters, locks = Counters(), Locks()
    probe = listen(counters, locks)
    assert probe.hears("line_transfer", "lock_wait")
    assert not probe.hears("charge")
