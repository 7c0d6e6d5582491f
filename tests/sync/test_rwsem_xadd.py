"""The older semaphore: whom does a reader's mark keep from spinning, and who is woken by a release?"""

from __future__ import annotations

import pytest
from machines import NS, Body, run, small_machine, with_order

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import QueueNodes, Scheduler, Sleeper, XaddRwSem

US = 1000 * NS
LINE, BURST = 30 * NS, 5 * NS
"""A line from a neighbour, and the second one of a task beside it."""


class Bench:
    """A semaphore, its scheduler, and the order in which threads got the lock."""

    def __init__(self, *, owner_spinning: bool = True, order: str = "fifo") -> None:
        self.machine = small_machine(with_order(order, 1))
        self.scheduler = Scheduler(self.machine)
        self.lock = XaddRwSem(
            "semaphore",
            self.machine.line("semaphore"),
            QueueNodes(self.machine, "osq"),
            self.scheduler,
            Activity("lock"),
            owner_spinning=owner_spinning,
        )
        self.entered: list[tuple[int, int]] = []

    def writer(self, after: int, inside: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            yield from self.lock.write_lock(cpu)
            self.entered.append((cpu.id, cpu.now))
            cpu.work(inside, Activity("inside"))
            yield from self.lock.write_unlock(cpu)

        return body

    def reader(self, after: int, inside: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            yield from self.lock.read_lock(cpu)
            self.entered.append((cpu.id, cpu.now))
            cpu.work(inside, Activity("inside"))
            yield from self.lock.read_unlock(cpu)

        return body

    def run(self, bodies: dict[int, Body]) -> list[int]:
        run(self.machine, bodies)
        return [cpu for cpu, _ in self.entered]


def test_do_writers_spin_for_a_writer_since_3_16_and_sleep_before() -> None:
    for spinning, sleeps in ((True, 0), (False, 5)):
        bench = Bench(owner_spinning=spinning)
        order = bench.run({cpu: bench.writer(cpu * US, 20 * US) for cpu in range(6)})
        assert order == list(range(6))
        assert bench.machine.tally.sleeps == sleeps


def test_does_the_mark_of_a_reader_that_has_left_send_the_next_loser_to_sleep() -> None:
    """The owner word still says `readers` until the writer that was faster has put itself there."""

    def sleeps(reader: bool) -> int:
        """Over races of writers that are more or less close: only some see the word in between."""
        total = 0
        for gap in range(0, 20 * NS, 1 * NS):
            bench = Bench(order="random")
            bodies = {cpu: bench.writer(2 * US + cpu * gap, 1 * US) for cpu in range(1, 9)}
            if reader:
                bodies[0] = bench.reader(0, 1 * US)
            bench.run(bodies)
            total += bench.machine.tally.sleeps
        return total

    assert sleeps(reader=True) > 0
    assert sleeps(reader=False) == 0


def test_are_only_the_readers_before_the_first_waiting_writer_let_in() -> None:
    bench = Bench()
    order = bench.run(
        {
            0: bench.reader(0, 30 * US),
            1: bench.writer(1 * US, 10 * US),  # readers hold it: sleeps, first in the queue
            2: bench.reader(5 * US, 10 * US),
            3: bench.reader(10 * US, 10 * US),
            4: bench.writer(15 * US, 10 * US),
            5: bench.reader(20 * US, 10 * US),
        }
    )
    entry = dict(bench.entered)
    assert order[:2] == [0, 1]
    assert set(order[2:4]) == {2, 3}  # together
    assert abs(entry[2] - entry[3]) < 5 * US
    assert order[4:] == [4, 5]


def test_does_a_reader_that_comes_too_late_to_wait_go_straight_in() -> None:
    """The writer leaves between the reader's failed add and its look under wait_lock."""
    sleeps = set()
    for late in range(0, 400 * NS, 10 * NS):
        bench = Bench()
        order = bench.run({0: bench.writer(0, 2 * US), 8: bench.reader(2 * US - 200 * NS + late, 0)})
        assert order == [0, 8]
        sleeps.add(bench.machine.tally.sleeps)
    assert sleeps == {0, 1}


def test_does_a_downgrade_let_readers_in_and_keep_writers_out() -> None:
    """The readers in front of the first writer come in beside the one that was a writer."""
    bench = Bench(owner_spinning=False)

    def downgrader(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.write_lock(cpu)
        cpu.work(30 * US, Activity("inside"))
        yield from bench.lock.write_downgrade(cpu)
        bench.entered.append((cpu.id, cpu.now))
        cpu.work(50 * US, Activity("inside"))
        yield from bench.lock.read_unlock(cpu)

    order = bench.run(
        {
            0: downgrader,
            1: bench.reader(5 * US, 5 * US),
            2: bench.reader(10 * US, 5 * US),
            3: bench.writer(15 * US, 5 * US),
            4: bench.reader(20 * US, 5 * US),
        }
    )
    entry = dict(bench.entered)
    assert order[0] == 0
    assert set(order[1:3]) == {1, 2}
    assert entry[0] <= entry[1] < entry[0] + 25 * US
    assert order[3:] == [3, 4]
    assert entry[3] >= entry[0] + 50 * US


def test_does_a_downgrade_leave_a_writer_in_front_asleep() -> None:
    bench = Bench(owner_spinning=False)

    def downgrader(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.write_lock(cpu)
        cpu.work(30 * US, Activity("inside"))
        yield from bench.lock.write_downgrade(cpu)
        cpu.work(30 * US, Activity("inside"))
        yield from bench.lock.read_unlock(cpu)

    order = bench.run({0: downgrader, 1: bench.writer(5 * US, 5 * US), 2: bench.reader(10 * US, 5 * US)})
    assert order == [1, 2]
    assert bench.entered[0][1] >= 60 * US


def test_does_a_trylock_fail_beside_a_writer_and_beside_sleepers_only() -> None:
    bench = Bench()
    results: dict[int, bool] = {}

    def tries(after: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            results[cpu.id] = yield from bench.lock.read_trylock(cpu)
            if results[cpu.id]:
                yield from bench.lock.read_unlock(cpu)

        return body

    bench.run(
        {
            0: bench.reader(0, 20 * US),
            1: tries(5 * US),
            2: bench.writer(10 * US, 20 * US),  # sleeps behind the reader
            3: tries(15 * US),
            4: tries(35 * US),
            5: tries(90 * US),
        }
    )
    assert results == {1: True, 3: False, 4: False, 5: True}


@pytest.mark.parametrize(("wakers_wait", "wakers_time"), [(False, 0), (True, 604 * NS)])
def test_does_a_waker_wait_for_a_sleeper_that_is_being_switched_out(
    wakers_wait: bool, wakers_time: int
) -> None:
    """The switch takes 1 us, after 4 ns for lines of the sleeper's own, and the wake-up comes 0.4 us after
    its begin. The cpu is 2 us from running the thread from when it idles and has the wake-up and its
    lines."""
    machine = small_machine()
    scheduler = Scheduler(machine, wakers_wait=wakers_wait)
    sleepers: list[Sleeper] = []
    back = []

    def sleeping(cpu: Cpu) -> Steps[None]:
        sleepers.append(Sleeper(cpu, "a reason"))
        yield from scheduler.sleep(cpu, sleepers[0], Activity("sleep"))
        back.append(cpu.now)

    def waking(cpu: Cpu) -> Steps[None]:
        yield 400 * NS
        cpu.charge(400 * NS, Activity("user"))
        scheduler.wake(cpu, sleepers[0])
        assert (
            cpu.pending
            == wakers_time + machine.spec.kernel.wake_send.at(machine.spec.clock) + 5 * LINE + BURST
        )
        yield cpu.take_pending()
        sent.append(cpu.now)

    sent: list[int] = []
    run(machine, {0: sleeping, 1: waking})
    wake_idle = machine.spec.kernel.wake_idle.at(machine.spec.clock)
    begins = max(sent[0], 1004 * NS)
    assert sent[0] > 1004 * NS
    assert back == [begins + 4 * LINE + BURST + wake_idle]
