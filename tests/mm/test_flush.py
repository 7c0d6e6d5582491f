"""After a shootdown, who can still translate? And what does each cpu have to flush?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import NS, Body, run, small_machine

from sim.engine import PARKED, ThreadBody, TieRule
from sim.hardware import INTERRUPT, TLB_FLUSH, Cpu, Machine
from sim.mm import SynchronousFlush

US = 1000 * NS
TIES = pytest.mark.parametrize("ties", ["fifo", "shuffle"])


def flusher(machine: Machine, active: Sequence[int]) -> SynchronousFlush:
    flush = SynchronousFlush(machine, machine.line("tlb_gen"))
    for number in active:
        flush.activate(machine.cpus[number])
    return flush


def fill(cpu: Cpu, *pages: int) -> None:
    for page in pages:
        cpu.tlb.fill(page, frame=page + 1000, writable=True)


def works(after: int) -> Body:
    def body(cpu: Cpu) -> ThreadBody:
        cpu.work(after, "user")
        yield cpu.take_pending()

    return body


def flushes(flush: SynchronousFlush, pages: Sequence[int], at: int = 0) -> Body:
    def body(cpu: Cpu) -> ThreadBody:
        cpu.work(at, "user")
        yield from flush.flush(cpu, pages)

    return body


def held(machine: Machine, cpu: int) -> list[int]:
    return sorted(machine.cpus[cpu].tlb.frames())


def test_does_a_cpu_one_behind_flush_the_range_only() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine, range(4))
    for cpu in machine.cpus:
        fill(cpu, 1, 2, 3)
    run(machine, {0: flushes(flush, [1, 2]), **dict.fromkeys(range(1, 4), works(50 * US))})
    assert [held(machine, cpu) for cpu in range(4)] == [[3]] * 4
    assert [cpu.interrupts for cpu in machine.cpus] == [0, 1, 1, 1]
    assert (
        machine.cpus[0].spent[TLB_FLUSH] == (80 + 2 * 40) * NS
    )  # the generation's line from memory, 2 INVLPG


def test_is_a_range_above_the_ceiling_flushed_whole() -> None:
    machine = small_machine({"tlb": {"flush_ceiling": 3}}, online=2)
    flush = flusher(machine, range(2))
    for cpu in machine.cpus:
        fill(cpu, 1, 9)
    run(machine, {0: flushes(flush, [1, 2, 3, 4]), 1: works(50 * US)})
    assert [held(machine, cpu) for cpu in (0, 1)] == [[], []]
    assert machine.cpus[0].spent[TLB_FLUSH] == (80 + 90) * NS


def test_does_a_cpu_further_behind_flush_everything_once() -> None:
    """Cpu 2 has interrupts off while two flushes are sent; then it takes both in one interrupt."""
    machine = small_machine(online=3)
    flush = flusher(machine, range(3))
    fill(machine.cpus[2], 1, 2, 3)

    def deaf(cpu: Cpu) -> ThreadBody:
        cpu.disable_interrupts()
        cpu.work(20 * US, "user")
        yield cpu.take_pending()
        assert held(machine, 2) == [1, 2, 3]
        cpu.enable_interrupts()

    run(machine, {0: flushes(flush, [1]), 1: flushes(flush, [2], at=5 * US), 2: deaf})
    assert flush.generation == 2
    assert held(machine, 2) == []
    assert machine.cpus[2].interrupts == 1
    # Entry and exit, the queue's line from cpu 1 next door, two more lines a call, one full flush.
    assert machine.cpus[2].spent[INTERRUPT] == (400 + 30 + 2 * 2 * 30 + 90) * NS


def test_is_a_lazy_cpu_skipped_and_flushed_when_it_comes_back() -> None:
    machine = small_machine(online=3)
    flush = flusher(machine, range(3))
    fill(machine.cpus[1], 1, 2)
    fill(machine.cpus[2], 1, 2)

    def sleeps(cpu: Cpu) -> ThreadBody:
        cpu.in_kernel_wait = True
        yield 30 * US
        cpu.spent["asleep"] += 30 * US
        cpu.in_kernel_wait = False
        assert held(machine, 2) == [1, 2]
        cpu.tlb_catch_up()
        assert held(machine, 2) == []

    run(machine, {0: flushes(flush, [1], at=US), 1: works(50 * US), 2: sleeps})
    assert held(machine, 1) == [2]
    assert [cpu.interrupts for cpu in machine.cpus] == [0, 1, 0]
    run(machine, {0: flushes(flush, [2]), 2: works(50 * US)})  # a later flush finds it up to date
    assert flush._active[machine.cpus[2]] == 2


def test_are_cpus_without_the_address_space_left_alone() -> None:
    machine = small_machine(online=4)
    flush = flusher(machine, [0, 2])
    for cpu in machine.cpus:
        fill(cpu, 1)
    run(machine, {0: flushes(flush, [1]), **dict.fromkeys(range(1, 4), works(50 * US))})
    assert [held(machine, cpu) for cpu in range(4)] == [[], [1], [], [1]]


def test_does_a_flush_without_others_send_nothing() -> None:
    machine = small_machine(online=2)
    flush = flusher(machine, [0])
    run(machine, {0: flushes(flush, [1]), 1: works(US)})
    assert (machine.interrupts.calls, flush.flushes) == (0, 1)


def test_does_loading_the_space_again_not_count_as_a_flush() -> None:
    machine = small_machine(online=2)
    flush = flusher(machine, range(2))
    fill(machine.cpus[1], 1)

    def loads_again(cpu: Cpu) -> ThreadBody:
        cpu.work(100 * NS, "user")
        yield cpu.take_pending()
        assert flush.generation == 1
        flush.activate(cpu)
        cpu.work(50 * US, "user")

    run(machine, {0: flushes(flush, [1]), 1: loads_again})
    assert held(machine, 1) == []


flush_step = st.tuples(st.just("flush"), st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
other_step = st.tuples(st.sampled_from(["work", "sleep", "deaf"]), st.sampled_from([0, 300 * NS, US, 5 * US]))
plans = st.lists(st.lists(flush_step | other_step, max_size=5), min_size=2, max_size=6)


@TIES
@given(plans=plans, ceiling=st.sampled_from([2, 33]))
def test_is_no_stale_translation_left_whatever_the_others_do(
    ties: TieRule, plans: list[list[tuple[str, object]]], ceiling: int
) -> None:
    """Each cpu fills its TLB from one table of versions; a flush makes new versions first."""
    machine = small_machine({"tlb": {"flush_ceiling": ceiling}}, ties=ties, online=len(plans))
    flush = flusher(machine, range(len(plans)))
    version = dict.fromkeys(range(10), 0)

    def body(cpu: Cpu) -> ThreadBody:
        for step, what in plans[cpu.id]:
            if cpu.pending:
                yield cpu.take_pending()
            for page in version:
                if page % len(plans) != cpu.id:
                    cpu.tlb.fill(page, frame=version[page], writable=True)
            if step == "flush":
                assert isinstance(what, list)
                wanted = {page: version[page] + 1 for page in what}
                version.update(wanted)
                yield from flush.flush(cpu, what)
                for other in machine.cpus:
                    entries = {} if other.tlb.stale else other.tlb.frames()
                    assert all(entries[page].frame >= new for page, new in wanted.items() if page in entries)
            else:
                assert isinstance(what, int)
                if step == "sleep":
                    cpu.in_kernel_wait = True
                    since = cpu.begin_wait("a nap")
                    cpu.wake(what)
                    yield PARKED
                    cpu.end_wait(since, "asleep")
                    cpu.in_kernel_wait = False
                    cpu.tlb_catch_up()
                else:
                    if step == "deaf":
                        cpu.disable_interrupts()
                    cpu.work(what, "user")
                    yield cpu.take_pending()
                    if step == "deaf":
                        cpu.enable_interrupts()

    run(machine, dict.fromkeys(range(len(plans)), body))
