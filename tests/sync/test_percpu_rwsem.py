"""Linux's per-cpu rwsem: what do readers share, and what does a writer wait for?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from locks import LOCK, percpu_rwsem
from machines import HIT, NS, RMW, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import PercpuRwSem, Rcu, Scheduler
from sim.sync.rcu_sync import GpState

US = 1000 * NS
TICK = 50 * US


def semaphore(machine: Machine, tick: int = TICK) -> PercpuRwSem:
    return percpu_rwsem(machine, tick)


def reader(
    lock: PercpuRwSem, after: int, inside: int, turns: int = 1, times: list[int] | None = None
) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        for _ in range(turns):
            yield from lock.read_lock(cpu)
            if times is not None:
                times.append(cpu.now)
            cpu.work(inside, Activity("inside"))
            yield cpu.take_pending()
            yield from lock.read_unlock(cpu)

    return body


def writer(lock: PercpuRwSem, after: int, inside: int, times: list[int], turns: int = 1) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        for _ in range(turns):
            yield from lock.write_lock(cpu)
            times.append(cpu.now)
            cpu.work(inside, Activity("inside"))
            yield cpu.take_pending()
            yield from lock.write_unlock(cpu)

    return body


def test_do_readers_on_different_cpus_share_nothing() -> None:
    """A turn is two looks at a shared line and two stores to one's own: as fast with 16 readers."""
    lengths = {}
    for readers in (1, 16):
        machine = small_machine()
        lock = semaphore(machine)
        run(machine, {cpu: reader(lock, 0, 10 * NS, turns=100) for cpu in range(readers)})
        run(machine, {cpu: reader(lock, 0, 10 * NS, turns=100) for cpu in range(readers)})
        lengths[readers] = machine.cpus[0].spent[LOCK]
    assert lengths[1] == lengths[16] == 100 * 4 * HIT
    assert RMW > HIT


def states_of(writers: dict[int, tuple[int, int]], moments: list[int]) -> tuple[list[int], list[GpState]]:
    """When writers that come at a time and stay for a time came in, and the state at *moments* (us)."""
    machine = small_machine()
    lock = semaphore(machine)
    times: list[int] = []
    states: list[GpState] = []
    for moment in moments:
        machine.engine.call_in(moment * US, lambda: states.append(lock._sync.state))
    run(machine, {cpu: writer(lock, at * US, stay * US, times) for cpu, (at, stay) in writers.items()})
    return [when // US for when in times], states


def test_does_a_writer_wait_for_a_grace_period_and_readers_are_fast_again_after_another() -> None:
    times, states = states_of({0: (5, 20)}, [1, 10, 60, 90, 110])
    assert times == [54]  # the tick at 50 us, the wake-up, and the counts of 16 cpus
    assert states == [GpState.IDLE, GpState.ENTER, GpState.PASSED, GpState.EXIT, GpState.IDLE]


def test_do_writers_in_the_second_grace_period_keep_readers_slow() -> None:
    """One that stays longer than the period, and one that is gone before its end: then there is another."""
    first = 0, 1
    _, stays = states_of({0: first, 1: (60, 60)}, [90, 110, 140, 160])
    assert stays == [GpState.EXIT, GpState.PASSED, GpState.EXIT, GpState.IDLE]
    _, leaves = states_of({0: first, 1: (60, 10)}, [58, 90, 110, 160])
    assert leaves == [GpState.EXIT, GpState.REPLAY, GpState.EXIT, GpState.IDLE]


def test_does_a_second_writer_save_the_grace_period() -> None:
    """It comes while readers are still slow because of the first."""
    machine = small_machine()
    lock = semaphore(machine)
    first: list[int] = []
    second: list[int] = []
    run(machine, {0: writer(lock, 0, 1 * US, first), 1: writer(lock, 60 * US, 1 * US, second)})
    assert first[0] > TICK
    assert second[0] < 62 * US


def test_does_a_writer_wait_for_readers_and_keep_new_ones_out() -> None:
    machine = small_machine()
    lock = semaphore(machine)
    written: list[int] = []
    late: list[int] = []
    run(
        machine,
        {
            0: writer(lock, 0, 30 * US, written),
            1: reader(lock, 0, 100 * US),
            2: reader(lock, 80 * US, 1 * US, times=late),
        },
    )
    assert 100 * US < written[0] < 105 * US
    assert late[0] > written[0] + 30 * US


def test_is_a_reader_counted_that_was_interrupted_between_its_look_and_its_count() -> None:
    """The store to its own count is held up by an interrupt that lasts for several ticks."""
    for moment in range(0, 400 * NS, 20 * NS):
        machine = small_machine()
        lock = semaphore(machine)
        inside: list[str] = []

        def check(name: str, cpu: Cpu, inside: list[str] = inside) -> Steps[None]:
            assert not inside, f"{name} beside {inside}"
            inside.append(name)
            cpu.work(400 * US, Activity("inside"))
            yield cpu.take_pending()
            inside.remove(name)

        def reads(
            cpu: Cpu, lock: PercpuRwSem = lock, check: Callable[..., Steps[None]] = check
        ) -> Steps[None]:
            yield from lock.read_lock(cpu)
            yield from check("reader", cpu)
            yield from lock.read_unlock(cpu)

        def writes(
            cpu: Cpu, lock: PercpuRwSem = lock, check: Callable[..., Steps[None]] = check
        ) -> Steps[None]:
            cpu.work(5 * US, Activity("user"))  # the reader has looked
            yield from lock.write_lock(cpu)
            yield from check("writer", cpu)
            yield from lock.write_unlock(cpu)

        def interrupt(machine: Machine = machine) -> None:
            machine.cpus[9].interrupt(lambda cpu: (300 * US, lambda end: None))

        machine.engine.call_in(moment, interrupt)
        run(machine, {9: reads, 0: writes})


def test_is_a_waiter_never_lost_that_comes_while_the_writer_leaves() -> None:
    """A reader or a second writer that has found the lock taken is interrupted, at each moment of its way to
    the wait queue, until the first writer has left."""
    for moment in range(65_000 * NS, 66_000 * NS, 2 * NS):
        for reads in (True, False):
            machine = small_machine()
            lock = semaphore(machine)
            times: list[int] = []
            second = reader(lock, 65 * US, 0) if reads else writer(lock, 65 * US, 0, times)
            machine.engine.call_in(
                moment, partial(machine.cpus[9].interrupt, lambda cpu: (5 * US, lambda end: None))
            )
            run(machine, {0: writer(lock, 0, 12 * US, times), 9: second})


def test_do_several_writers_take_turns() -> None:
    machine = small_machine()
    lock = semaphore(machine)
    times: list[int] = []
    run(machine, {cpu: writer(lock, cpu * US, 10 * US, times, turns=3) for cpu in range(5)})
    assert len(times) == 15
    assert all(
        after - before >= 10 * US for before, after in zip(sorted(times), sorted(times)[1:], strict=False)
    )


def test_does_a_period_end_that_begins_while_all_cpus_idle() -> None:
    machine = small_machine()
    rcu = Rcu(machine, global_list=False, tick=TICK)
    done: list[int] = []
    scheduler = Scheduler(machine)

    def defers(cpu: Cpu) -> Steps[None]:
        for delay in (1, 2):
            cpu.work(delay * US, Activity("user"))
            yield from rcu.defer(cpu, lambda _: done.append(machine.engine.now) or 0)  # type: ignore[func-returns-value]
        yield from scheduler.nap(cpu, 300 * US, Activity("asleep"))

    run(machine, {3: defers})
    assert [when // TICK for when in done] == [1, 2]
