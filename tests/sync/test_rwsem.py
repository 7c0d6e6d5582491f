"""Linux's semaphore: who spins, who sleeps, who is woken?"""

from __future__ import annotations

from collections.abc import Sequence

from machines import NS, RWSEM, Body, SmallMachine, run, small_machine

from sim.engine import Probe, Steps
from sim.engine.probe import LineView
from sim.hardware import Cpu
from sim.sync import SCHED, QueueNodes, RwSem, RwSemTuning, Scheduler

US = 1000 * NS


class Bench:
    """A semaphore, its scheduler, and the order in which threads got the lock."""

    def __init__(self, handoff_after: int = 4000 * US, listeners: Sequence[Probe] = ()) -> None:
        self.machine = small_machine(listeners=listeners)
        self.scheduler = Scheduler(self.machine)
        self.lock = RwSem(
            "semaphore",
            self.machine.line("count"),
            self.machine.line("owner"),
            QueueNodes(self.machine, "osq"),
            self.scheduler,
            "lock",
            RwSemTuning.model_validate({**RWSEM, "handoff_after": f"{handoff_after} ps"}),
        )
        self.entered: list[tuple[int, int]] = []

    def writer(self, after: int, inside: int, turns: int = 1) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, "user")
            for _ in range(turns):
                yield from self.lock.write_lock(cpu)
                self.entered.append((cpu.id, cpu.now))
                cpu.work(inside, "inside")
                yield cpu.take_pending()
                yield from self.lock.write_unlock(cpu)

        return body

    def reader(self, after: int, inside: int, turns: int = 1) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, "user")
            for _ in range(turns):
                yield from self.lock.read_lock(cpu)
                self.entered.append((cpu.id, cpu.now))
                cpu.work(inside, "inside")
                yield cpu.take_pending()
                yield from self.lock.read_unlock(cpu)

        return body

    def run(self, bodies: dict[int, Body]) -> list[int]:
        run(self.machine, bodies)
        return [cpu for cpu, _ in self.entered]


def test_do_writers_spin_for_a_writer() -> None:
    bench = Bench()
    order = bench.run({cpu: bench.writer(cpu * US, 20 * US) for cpu in range(6)})
    assert order == list(range(6))  # the OSQ is fair
    assert bench.machine.tally.sleeps == 0
    assert all(cpu.spent[SCHED] == 0 for cpu in bench.machine.cpus)


def test_do_readers_sleep_for_a_writer_and_come_in_together() -> None:
    bench = Bench()
    bench.run({0: bench.writer(0, 50 * US), **{cpu: bench.reader(cpu * US, 5 * US) for cpu in range(1, 8)}})
    times = [when for _, when in bench.entered[1:]]
    assert bench.machine.tally.sleeps == 7
    assert min(times) > 50 * US
    assert max(times) - min(times) < 7 * US  # the waker wakes one after another
    assert bench.machine.cpus[1].spent[SCHED] == 1 * US  # the switch away; coming back is the wake-up


def test_does_a_writer_lose_its_patience_with_readers_that_stay() -> None:
    """It spins 10 us and half a us a reader, then it sleeps."""
    patient, impatient = Bench(), Bench()
    patient.run({0: patient.reader(0, 9 * US), 1: patient.writer(1 * US, 0)})
    assert patient.machine.tally.sleeps == 0
    assert 9 * US < dict(patient.entered)[1] < 10 * US
    impatient.run({0: impatient.reader(0, 40 * US), 1: impatient.writer(1 * US, 0)})
    assert impatient.machine.tally.sleeps == 1
    assert [cpu for cpu, _ in impatient.entered] == [0, 1]


def test_does_a_trylock_fail_beside_a_writer_only() -> None:
    bench = Bench()
    results = {}

    def attempt(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, "user")
        results[cpu.id] = yield from bench.lock.read_trylock(cpu)
        if results[cpu.id]:
            yield from bench.lock.read_unlock(cpu)

    bench.run({0: bench.writer(0, 20 * US), 1: attempt})
    assert results == {1: False}
    bench.run({0: bench.reader(0, 20 * US), 1: attempt})
    assert results == {1: True}


def test_does_a_downgrade_let_readers_in_and_keep_writers_out() -> None:
    bench = Bench()
    held = []

    def downgrading(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.write_lock(cpu)
        cpu.work(30 * US, "inside")
        yield cpu.take_pending()
        yield from bench.lock.write_downgrade(cpu)
        cpu.work(100 * US, "inside")
        yield cpu.take_pending()
        held.append((bench.lock.writer, bench.lock.readers))
        yield from bench.lock.read_unlock(cpu)

    order = bench.run({0: downgrading, 1: bench.reader(5 * US, 500 * US), 2: bench.writer(200 * US, 0)})
    assert held == [(None, 2)]
    assert order == [1, 2]


def test_does_a_handoff_end_the_stealing() -> None:
    """Spinning writers take the lock before a sleeper can; after `handoff_after` it is the sleeper's."""

    def longest_wait(handoff_after: int) -> int:
        bench = Bench(handoff_after)
        thieves = {cpu: bench.writer(40 * US, 3 * US, turns=60) for cpu in range(2, 6)}
        # The reader makes the writer on cpu 1 go to sleep before the thieves come.
        bench.run({0: bench.reader(0, 39 * US), 1: bench.writer(1 * US, 0), **thieves})
        return dict(bench.entered)[1]

    assert longest_wait(handoff_after=60 * US) < 200 * US
    assert longest_wait(handoff_after=60 * US) <= longest_wait(handoff_after=4000 * US)


def test_does_a_sleeper_woken_before_it_sleeps_not_sleep() -> None:
    """The switch away takes 1 us; a wake-up in that time must not be lost."""
    for release in range(0, 3000 * NS, 100 * NS):
        bench = Bench()
        bench.run({0: bench.writer(0, release), 1: bench.reader(0, 0)})
        assert len(bench.entered) == 2


# -- what the head of the OSQ polls --------------------------------------------------------------------------


class Reads(Probe):
    """Which lines cpu 1 fetches for reading, and when."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.machine: SmallMachine | None = None

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        if cpu == 1 and not exclusive:
            assert self.machine is not None
            self.seen.append((line.name, self.machine.engine.now))

    def of(self, start: int, end: int) -> list[str]:
        return [name for name, when in self.seen if start <= when < end]


def polled(holder: str, until: int) -> Reads:
    """What cpu 1, a spinner, loads while cpu 0 is the *holder* and cpu 2 writes to either line in turn."""
    reads = Reads()
    bench = Bench(listeners=[reads])
    reads.machine = bench.machine

    def meddles(cpu: Cpu) -> Steps[None]:
        for line in (bench.lock.count, bench.lock.owner_line, bench.lock.count):
            cpu.work(2 * US, "user")
            yield from line.prefetch_write(cpu)

    make = bench.writer if holder == "writer" else bench.reader
    bench.run({0: make(0, until), 1: bench.writer(1 * US, 0), 2: meddles})
    assert [cpu for cpu, _ in bench.entered] == [0, 1]
    return reads


def test_does_the_head_poll_the_owner_line_only_while_a_writer_runs() -> None:
    """A fault's prefetch of count, or a reader's RMW, does not disturb it, and it does not disturb them."""
    reads = polled("writer", until=8 * US)
    assert reads.of(2 * US, 4 * US) == []  # count is written at 2 us,
    assert reads.of(4 * US, 8 * US) == ["owner"]  # the owner line at 4 us, count again at 6 us


def test_does_the_head_poll_both_lines_while_readers_hold_the_lock() -> None:
    reads = polled("reader", until=8 * US)
    assert reads.of(2 * US, 4 * US) == ["count"]
    assert reads.of(4 * US, 6 * US) == ["owner"]
    assert reads.of(6 * US, 8 * US) == ["count"]


def test_does_the_head_look_at_count_between_the_two_stores_of_a_release() -> None:
    """The owner is cleared first: the spinner takes a copy of count, which the releaser takes back."""
    reads = Reads()
    bench = Bench(listeners=[reads])
    reads.machine = bench.machine
    holders: list[int] = []

    def releases(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.write_lock(cpu)
        cpu.work(5 * US, "inside")
        yield cpu.take_pending()
        yield from bench.lock.owner_line.store(cpu)
        bench.lock._owner = None
        cpu.work(2 * US, "inside")  # the kernel does both at once
        yield cpu.take_pending()
        holders.append(bench.lock.count.sharers)
        yield from bench.lock.write_unlock(cpu)

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(3 * US, "user")
        yield from bench.lock.count.prefetch_write(cpu)

    bench.run({0: releases, 1: bench.writer(1 * US, 0), 2: faults})
    assert reads.of(3 * US, 5 * US) == []
    assert reads.of(5 * US, 7 * US) == ["owner", "count"]
    assert holders == [0b110]  # cpu 1 has a copy when count is about to be written
    assert "count" in reads.of(7 * US, 9 * US)


def test_does_the_head_go_on_polling_while_a_sleeper_has_claimed_the_lock() -> None:
    """HANDOFF is set and the owner NULL: it stays in the OSQ until the sleeper has come and gone."""
    bench = Bench(handoff_after=5 * US)
    bench.run(
        {
            0: bench.reader(0, 39 * US),
            1: bench.writer(1 * US, 5 * US),  # goes to sleep after its patience with the reader
            **{cpu: bench.writer(40 * US, 3 * US, turns=8) for cpu in range(2, 6)},
        }
    )
    assert len(bench.entered) == 2 + 4 * 8
    assert bench.machine.tally.sleeps <= 3  # the claimant's, none of the spinners
