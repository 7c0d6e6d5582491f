"""Does a callback of Linux' RCU run on its own cpu, after every cpu has passed a quiescent state?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from kernels import BASE, Process, design
from machines import NS, SmallMachine, run, small_machine

from sim.designs.linux import LinuxSpec
from sim.designs.linux.rcu import TreeRcu
from sim.designs.linux.rcu_spec import RcuSpec
from sim.engine import PARKED, Activity, Steps
from sim.hardware import Cpu
from sim.mm import Mmap, Munmap
from sim.sync import Scheduler

US = 1000 * NS
TICK, LEAST, URGENT = 10 * US, 20 * US, 100 * US


def rcu_on(cpus: int, changes: Mapping[str, Any] | None = None) -> tuple[SmallMachine, TreeRcu]:
    spec = design("linux", {"rcu": {"call": "0 cycles", "callback": "0 cycles", **(changes or {})}})
    assert isinstance(spec, LinuxSpec)
    machine = small_machine(online=cpus)
    return machine, TreeRcu(machine, spec.rcu)


class Freed:
    """Notes when and where it is called."""

    def __init__(self) -> None:
        self.at: list[tuple[int, int]] = []

    def __call__(self, cpu: Cpu) -> Steps[None]:
        self.at.append((cpu.id, cpu.now))
        return
        yield


def nothing() -> Steps[None]:
    return
    yield


def busy(cpu: Cpu, time: int) -> Steps[None]:
    cpu.work(time, Activity("work"))
    yield cpu.take_pending()


def user_loop(rcu: TreeRcu, cpu: Cpu, until: int) -> Steps[None]:
    """User code that enters the kernel for a moment each microsecond."""
    while cpu.now < until:
        yield from busy(cpu, US - 1)
        yield from rcu.in_kernel(cpu, nothing())
        yield from busy(cpu, 1)


def test_does_a_callback_wait_for_the_least_time_and_run_where_it_was_deferred() -> None:
    machine, rcu = rcu_on(2)
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, 3 * US)
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 60 * US)

    run(machine, {0: caller, 1: lambda cpu: user_loop(rcu, cpu, 60 * US)})
    ((cpu, time),) = freed.at
    assert cpu == 0
    assert 30 * US <= time < 31 * US  # began at 3 us: the first tick that is 20 us later, and the next entry
    assert rcu.periods == 1


def test_does_a_later_callback_wait_for_a_period_of_its_own() -> None:
    machine, rcu = rcu_on(1)
    first, second = Freed(), Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, first)
        yield from busy(cpu, 15 * US)
        rcu.call(cpu, second)
        yield from user_loop(rcu, cpu, 90 * US)

    run(machine, {0: caller})
    assert 20 * US <= first.at[0][1] < 22 * US
    assert 40 * US <= second.at[0][1] < 42 * US


@pytest.mark.parametrize(("preemptible", "ends"), [(True, 20 * US), (False, 80 * US)])
def test_does_kernel_code_hold_a_period_up(preemptible: bool, ends: int) -> None:
    """Cpu 1 is in one system call for 75 us; with preemptible RCU a tick there counts all the same."""
    machine, rcu = rcu_on(2, {"preemptible": preemptible})
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 95 * US)

    run(machine, {0: caller, 1: lambda cpu: rcu.in_kernel(cpu, busy(cpu, 75 * US))})
    assert ends <= freed.at[0][1] < ends + 2 * US


def spinning(cpu: Cpu) -> Steps[None]:
    """Spin for a lock until somebody ends that."""
    since = cpu.begin_wait("a lock")
    yield PARKED
    cpu.end_wait(since, Activity("spin"))


@pytest.mark.parametrize(
    ("sleeps", "let_go", "ends"),
    [
        (False, 45 * US, 50 * US),
        (False, 170 * US, 180 * US),  # a spin lock: it cannot be told to stop
        (True, 170 * US, URGENT + TICK),  # asked at a tick, and asleep at the next
    ],
)
def test_does_a_spinner_hold_it_up_until_it_is_urgent(sleeps: bool, let_go: int, ends: int) -> None:
    machine, rcu = rcu_on(2)
    scheduler = Scheduler(machine)
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, let_go)
        if not sleeps:
            machine.cpus[1].wake()
        yield from user_loop(rcu, cpu, 200 * US)

    def spinning_or_asleep(cpu: Cpu) -> Steps[None]:
        yield from scheduler.spin(cpu, "a lock", Activity("spin"))
        assert cpu.now == URGENT
        yield from scheduler.nap(cpu, 5 * US, Activity("sleep"))

    def spinner(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, US)
        yield from rcu.in_kernel(cpu, spinning_or_asleep(cpu) if sleeps else spinning(cpu))
        yield from busy(cpu, 150 * US)

    run(machine, {0: caller, 1: spinner})
    assert ends <= freed.at[0][1] < ends + 2 * US


@pytest.mark.parametrize(("spins_until", "ends"), [(None, 5 * US), (45 * US, 45 * US)])
def test_does_a_hastened_period_end_when_nobody_holds_it_up(spins_until: int | None, ends: int) -> None:
    """It began at 0 and would have ended at 20 us; it is asked to hurry at 5 us."""
    machine, rcu = rcu_on(2)
    freed, told = Freed(), list[int]()
    rcu.on_period = lambda: told.append(machine.engine._now)

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.hasten()  # nothing is under way
        assert not rcu.under_way
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 5 * US)
        rcu.hasten()
        assert rcu.under_way
        if spins_until is not None:
            yield from user_loop(rcu, cpu, spins_until)
            machine.cpus[1].wake()
        yield from user_loop(rcu, cpu, 70 * US)

    def spinner(cpu: Cpu) -> Steps[None]:
        yield from rcu.in_kernel(cpu, spinning(cpu))
        yield from busy(cpu, 30 * US)

    run(machine, {0: caller} if spins_until is None else {0: caller, 1: spinner})
    assert ends <= freed.at[0][1] < ends + 2 * US
    assert [time - ends <= TICK // 100 for time in told] == [True]
    assert rcu.stretch == pytest.approx(max(1, LEAST / told[0]))
    assert not rcu.under_way


@pytest.mark.parametrize(("callbacks", "entries"), [(100, [10, 20, 30]), (101, [10, 101, 101])])
def test_does_ksoftirqd_do_in_one_go_what_a_softirq_leaves(callbacks: int, entries: list[int]) -> None:
    machine, rcu = rcu_on(1)
    freed = Freed()

    def body(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, Freed())  # begins a period, for the end of which the others wait
        for _ in range(callbacks):
            rcu.call(cpu, freed)
        yield from busy(cpu, LEAST + US)
        yield from rcu.in_kernel(cpu, nothing())
        yield from busy(cpu, LEAST)
        for freed_by_then in entries:
            yield from rcu.in_kernel(cpu, nothing())
            assert len(freed.at) == freed_by_then

    run(machine, {0: body})


def without_preempt_rcu(cpus: int, way_out: float = 0.5) -> tuple[SmallMachine, TreeRcu]:
    """A kernel without preemptible RCU whose system calls take 1 us to cross the border."""
    spec = design("linux", {"rcu": {"call": "0 cycles", "callback": "0 cycles"}})
    assert isinstance(spec, LinuxSpec)
    kernel = {"preempt_rcu": False, "syscall": "1 us", "way_out": way_out}
    machine = small_machine({"kernel": kernel}, online=cpus)
    return machine, TreeRcu(machine, spec.rcu)


@pytest.mark.parametrize(("phase", "counts"), [(0.2, True), (0.7, False)])
def test_does_a_tick_on_the_way_out_find_user_mode(phase: float, counts: bool) -> None:
    """A cpu that enters the kernel again and again: ticks come *phase* us after it has entered."""
    machine, rcu = without_preempt_rcu(2)
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 120 * US)

    def in_calls(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, int((1 - phase) * US))
        while cpu.now < 80 * US:
            yield from rcu.in_kernel(cpu, busy(cpu, US))

    run(machine, {0: caller, 1: in_calls})
    assert (freed.at[0][1] < LEAST + 2 * US) == counts


def test_does_work_that_a_call_leaves_to_its_end_count_as_kernel_code() -> None:
    machine, rcu = without_preempt_rcu(2)
    freed = Freed()

    def work(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("work"))
        return
        yield

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 90 * US)

    def late(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, 6 * US)
        while cpu.now < 65 * US:
            yield from rcu.in_kernel(cpu, work(cpu))  # each tick finds its last microsecond
            yield from busy(cpu, 0)

    run(machine, {0: caller, 1: late})
    assert freed.at[0][1] >= 65 * US


@pytest.mark.parametrize("preemptible", [False, True])
def test_does_a_tick_that_finds_callbacks_find_no_user_mode(preemptible: bool) -> None:
    """Those of cpu 1 take from 41 to 71 us, before a call. The third period began at 40 us."""
    machine, rcu = (rcu_on if preemptible else without_preempt_rcu)(2)
    third = Freed()

    def long(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, 30 * US)

    def callers(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, Freed())
        yield from busy(cpu, US)
        rcu.call(cpu, long if cpu.id else Freed())
        yield from busy(cpu, 24 * US)
        if not cpu.id:
            rcu.call(cpu, third)
        yield from busy(cpu, 16 * US)
        yield from rcu.in_kernel(cpu, nothing())
        yield from user_loop(rcu, cpu, 120 * US)

    run(machine, {0: callers, 1: callers})
    assert third.at[0][1] >= 71 * US


def test_do_ticks_say_how_long_a_hastened_period_would_have_lasted() -> None:
    """A cpu is in user mode every seventh time; each tick of haste stands for one of a whole period."""
    machine, rcu = without_preempt_rcu(2, way_out=0)
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 2 * US)
        rcu.hasten()
        yield from user_loop(rcu, cpu, 9 * US)

    def mostly_in_calls(cpu: Cpu) -> Steps[None]:
        yield from rcu.in_kernel(cpu, busy(cpu, 2 * US + 6 * TICK // 100 + 1))
        yield from busy(cpu, 20 * US)

    run(machine, {0: caller, 1: mostly_in_calls})
    assert rcu.periods == 1
    assert rcu.stretch == pytest.approx(7 * TICK / (2 * US + 7 * TICK // 100), rel=0.05)


@pytest.mark.parametrize(("callbacks", "stops"), [(100, False), (101, True)])
def test_does_a_spinner_make_way_for_ksoftirqd(callbacks: int, stops: bool) -> None:
    """Ten batches of ten are done in the softirq; with more, ksoftirqd wants the cpu when the period ends."""
    machine, rcu = rcu_on(2)
    scheduler = Scheduler(machine)
    stopped = []

    def spinner(cpu: Cpu) -> Steps[None]:
        yield from rcu.in_kernel(cpu, nothing())
        for _ in range(callbacks):
            rcu.call(cpu, Freed())
        yield from busy(cpu, US)
        yield from rcu.in_kernel(cpu, until_told(cpu))

    def until_told(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, 34 * US)  # a tick of the second period, with all but the first, finds it so
        yield from scheduler.spin(cpu, "a lock", Activity("spin"))
        stopped.append((cpu.need_resched, cpu.now))

    def other(cpu: Cpu) -> Steps[None]:
        yield from user_loop(rcu, cpu, 60 * US)
        machine.cpus[0].poke("a lock")

    run(machine, {0: spinner, 1: other})
    assert stopped == ([(True, 2 * LEAST)] if stops else [(False, 60 * US)])


def test_do_idle_cpus_and_switches_count() -> None:
    machine, rcu = rcu_on(3, {"preemptible": False})
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, freed)
        yield from user_loop(rcu, cpu, 40 * US)

    def switching(cpu: Cpu) -> Steps[None]:
        yield from busy(cpu, 5 * US)
        rcu.quiescent(cpu)
        yield from busy(cpu, 35 * US)

    run(machine, {0: caller, 1: lambda cpu: rcu.in_kernel(cpu, switching(cpu))})  # cpu 2 has no thread
    assert 20 * US <= freed.at[0][1] < 22 * US


def test_how_many_callbacks_run_at_an_entry() -> None:
    """Ten, or one in 128 where more than 1,280 wait; then all."""
    machine, rcu = rcu_on(1)
    freed = Freed()

    def caller(cpu: Cpu) -> Steps[None]:
        for _ in range(2560):
            rcu.call(cpu, freed)
        yield from busy(cpu, 45 * US)
        yield from rcu.in_kernel(cpu, nothing())
        assert len(freed.at) == 20
        yield from rcu.in_kernel(cpu, nothing())
        assert len(freed.at) == 2560  # ksoftirqd

    run(machine, {0: caller})


def test_does_a_period_under_way_make_a_run_longer() -> None:
    machine, rcu = rcu_on(1)

    def caller(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, Freed())
        yield from busy(cpu, 7 * US)

    run(machine, {0: caller})
    assert machine.engine._now == 7 * US
    assert rcu.periods == 0

    def again(cpu: Cpu) -> Steps[None]:
        rcu.call(cpu, Freed())
        yield from busy(cpu, 50 * US)

    run(machine, {0: again})  # the period goes on when there are threads again
    assert machine.engine._now == 57 * US
    assert rcu.periods >= 1


def test_do_vmas_and_nodes_come_back_a_grace_period_after_munmap() -> None:
    process = Process("linux", cpus=1)
    slabs = process.kernel.slabs  # type: ignore[attr-defined]
    process.do(("mmap", 4, BASE), ("munmap", BASE, 4))
    assert slabs.vm_area_struct.waiting == 1
    assert slabs.vma_lock.waiting == 1
    assert slabs.maple_node.waiting >= 1

    def later(cpu: Cpu) -> Steps[None]:
        for _ in range(4):
            yield from process.space.perform(cpu, Mmap(1, BASE))
            yield from process.space.perform(cpu, Munmap(BASE, 1))
            yield from busy(cpu, 60 * US)
        yield from process.space.perform(cpu, Munmap(BASE, 1))

    process.run({0: later})
    assert slabs.vm_area_struct.waiting == 0
    assert slabs.maple_node.waiting == 0


def test_what_a_file_says_of_it_is_checked() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        RcuSpec.model_validate({"tick": "0 ms"})
