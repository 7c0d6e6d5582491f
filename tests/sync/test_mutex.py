"""Linux's mutex: who spins, who sleeps, who is next?"""

from __future__ import annotations

from itertools import pairwise

from machines import NS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import SCHED, Mutex, QueueNodes, Scheduler

US = 1000 * NS


class Bench:
    """A mutex, its scheduler, and when who got it."""

    def __init__(self, kind: type[Mutex] = Mutex) -> None:
        self.machine = small_machine()
        self.scheduler = Scheduler(self.machine)
        nodes = QueueNodes(self.machine, "osq")
        self.lock = kind(nodes, self.machine.line("mutex"), self.scheduler, Activity("lock"))
        self.entered: list[tuple[int, int]] = []

    def thread(self, after: int, inside: int, turns: int = 1, nap: int = 0) -> Body:
        """Comes *after* so long and holds the mutex for *inside*, of which it first sleeps *nap*."""

        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            for _ in range(turns):
                yield from self.lock.acquire(cpu)
                self.entered.append((cpu.id, cpu.now))
                if nap:
                    yield from self.scheduler.nap(cpu, nap, Activity("asleep"))
                cpu.work(inside, Activity("inside"))
                yield from self.lock.release(cpu)

        return body

    def run(self, bodies: dict[int, Body]) -> list[int]:
        run(self.machine, bodies)
        return [cpu for cpu, _ in self.entered]


def test_do_waiters_spin_while_the_owner_runs() -> None:
    bench = Bench()
    assert bench.run({cpu: bench.thread(cpu * US, 20 * US) for cpu in range(6)}) == list(range(6))
    assert bench.machine.tally.sleeps == 0
    assert all(cpu.spent[SCHED] == 0 for cpu in bench.machine.cpus)


def test_do_waiters_sleep_while_the_owner_sleeps() -> None:
    bench = Bench()
    sleeper = bench.thread(0, 1 * US, nap=50 * US)
    order = bench.run({0: sleeper, 1: bench.thread(10 * US, 1 * US), 2: bench.thread(20 * US, 1 * US)})
    assert order == [0, 1, 2]
    assert bench.machine.tally.sleeps == 3
    assert bench.machine.cpus[1].spent["lock"] > 30 * US
    assert bench.machine.cpus[1].spent[SCHED] >= 1 * US


def test_does_a_spinner_go_to_sleep_when_the_owner_does() -> None:
    """It came while the owner, that first works, ran."""
    bench = Bench()

    def works_then_sleeps(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.acquire(cpu)
        cpu.work(10 * US, Activity("inside"))
        yield from bench.scheduler.nap(cpu, 30 * US, Activity("asleep"))
        yield from bench.lock.release(cpu)

    bench.run({0: works_then_sleeps, 1: bench.thread(5 * US, 0), 2: bench.thread(6 * US, 0)})
    assert bench.machine.tally.sleeps == 3
    assert [cpu for cpu, _ in bench.entered] == [1, 2]


def test_is_the_lock_handed_to_a_waiter_that_came_too_late() -> None:
    """1 sleeps while 0 does. When it has been woken, thieves have the mutex: it gets it from the first that
    unlocks after its look, though they all come back at once."""
    bench = Bench()
    thieves = {cpu: bench.thread(55 * US, 3 * US, turns=60) for cpu in range(2, 6)}
    bench.run({0: bench.thread(0, 2 * US, nap=50 * US), 1: bench.thread(10 * US, 0), **thieves})
    released = 50 * US + 2_500 * NS + 2 * US  # the timer's wake-up and the rest of the section
    woken = released + 2_500 * NS
    waited_until = dict(bench.entered)[1]
    overtaken = sum(released < when < waited_until for _, when in bench.entered)
    assert 1 <= overtaken <= 2
    assert waited_until < woken + 3 * US + 3 * US
    assert not bench.lock._handoff


class Checked(Mutex):
    """A mutex that may not be freed while its first waiter demands it."""

    __slots__ = ()

    def _set_owner(self, cpu: Cpu, owner: Cpu | None) -> None:
        assert owner is not None or not self._handoff
        super()._set_owner(cpu, owner)


def test_is_a_demand_never_passed_over() -> None:
    """The woken waiter demands the mutex at each moment of a thief's unlock."""
    for late in range(0, 3_000 * NS, 10 * NS):
        bench = Bench(Checked)
        thieves = {cpu: bench.thread(55 * US, US + late, turns=3) for cpu in (5, 9)}
        bench.run({0: bench.thread(0, 2 * US, nap=50 * US), 1: bench.thread(10 * US, 0), **thieves})
        assert len(bench.entered) == 8


def test_is_nobody_starved_by_threads_that_come_back_at_once() -> None:
    """Three of eight owners sleep inside, so all go through the wait list now and then."""
    bench = Bench()
    entries = bench.run(
        {cpu: bench.thread(0, 2 * US, turns=20, nap=3 * US if cpu % 3 == 0 else 0) for cpu in range(8)}
    )
    turns = [[at for at, cpu in enumerate(entries) if cpu == who] for who in range(8)]
    assert bench.machine.tally.sleeps > 3 * 20
    assert max(after - before for own in turns for before, after in pairwise(own)) < 5 * 8


def test_is_a_sleeper_woken_once_and_never_lost() -> None:
    """The owner wakes at each moment around the waiter's way to sleep, which takes 1 us."""
    for time in range(0, 6_000 * NS, 100 * NS):
        bench = Bench()
        assert sorted(bench.run({0: bench.thread(0, 0, nap=time), 1: bench.thread(100 * NS, 0)})) == [0, 1]
