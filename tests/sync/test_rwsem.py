"""Linux's semaphore: who spins, who sleeps, who is woken?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from machines import NS, RWSEM, SIBLINGS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync import SCHED, QueueNodes, RwSem, RwSemTuning, Scheduler, Sleeper, SpinningReadersRwSem

US = 1000 * NS


class Bench:
    """A semaphore, its scheduler, and the order in which threads got the lock."""

    def __init__(
        self, handoff_after: int = 4000 * US, kind: type[RwSem] = RwSem, wait_list: str = "line"
    ) -> None:
        self.machine = small_machine()
        self.scheduler = Scheduler(self.machine)
        self.lock = kind(
            "semaphore",
            self.machine.line("count"),
            self.machine.line("owner"),
            QueueNodes(self.machine, "osq"),
            self.scheduler,
            Activity("lock"),
            RwSemTuning.model_validate(
                {**RWSEM, "handoff_after": f"{handoff_after} ps", "wait_list": wait_list}
            ),
        )
        self.entered: list[tuple[int, int]] = []

    def writer(self, after: int, inside: int, turns: int = 1) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            for _ in range(turns):
                yield from self.lock.write_lock(cpu)
                self.entered.append((cpu.id, cpu.now))
                cpu.work(inside, Activity("inside"))
                yield cpu.take_pending()
                yield from self.lock.write_unlock(cpu)

        return body

    def reader(self, after: int, inside: int, turns: int = 1) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            for _ in range(turns):
                yield from self.lock.read_lock(cpu)
                self.entered.append((cpu.id, cpu.now))
                cpu.work(inside, Activity("inside"))
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


@pytest.mark.parametrize(("back_after", "second"), [(100, 0), (400, 8)])
def test_does_a_holder_that_comes_back_win_against_the_two_loads_of_a_far_head(
    back_after: int, second: int
) -> None:
    """Both need the count's line first. From then on the head loads the owner word and the count, 200 ns
    each, before it asks for the line to write it."""
    bench = Bench()

    def holder(cpu: Cpu) -> Steps[None]:
        for _ in range(2):
            yield from bench.lock.write_lock(cpu)
            bench.entered.append((cpu.id, cpu.now))
            cpu.work(5 * US, Activity("user"))
            yield from bench.lock.write_unlock(cpu)
            cpu.work(back_after * NS, Activity("user"))

    order = bench.run({0: holder, 8: bench.writer(1 * US, 0)})
    assert order[:2] == [0, second]


def test_do_readers_sleep_for_a_writer_and_come_in_together() -> None:
    bench = Bench()
    bench.run({0: bench.writer(0, 50 * US), **{cpu: bench.reader(cpu * US, 5 * US) for cpu in range(1, 8)}})
    times = [when for _, when in bench.entered[1:]]
    assert bench.machine.tally.sleeps == 7
    assert min(times) > 50 * US
    assert max(times) - min(times) < 7 * US  # the waker wakes one after another
    lines = 2 * 2 * NS + 35 * NS  # two of its own, and two in a burst from its waker
    assert bench.machine.cpus[1].spent[SCHED] == 1 * US + lines  # to switch away; coming back is the wake-up


@pytest.mark.parametrize("sleepers", [1, 2])
def test_does_the_waker_fetch_the_stack_of_each_reader_that_it_marks(sleepers: int) -> None:
    """One line more of each: what else it takes under wait_lock it has at hand for the wake-up."""
    spent = []
    for wait_list in ("line", "locked"):
        bench = Bench(wait_list=wait_list)
        bench.run(
            {
                0: bench.writer(0, 50 * US),
                **{cpu: bench.reader(cpu * US, 0) for cpu in range(1, sleepers + 1)},
            }
        )
        assert bench.machine.tally.sleeps == sleepers
        spent.append(bench.machine.cpus[0].spent[SCHED])
    assert spent[1] - spent[0] == pytest.approx(sleepers * 35 * NS, abs=2 * sleepers * NS)


def test_do_readers_that_come_at_once_wait_for_each_others_turn_at_the_list() -> None:
    """Seven of them while a writer is inside: the last one is in the list when all before have linked
    themselves behind each other, 35 ns, and changed the count. Else only the lines serve them in turn."""

    def asleep(wait_list: str) -> int:
        bench = Bench(wait_list=wait_list)
        times: list[int] = []
        sleep = bench.scheduler.sleep

        def noted(cpu: Cpu, sleeper: Any, activity: Activity) -> Steps[None]:
            times.append(cpu.now)
            return sleep(cpu, sleeper, activity)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scheduler, "sleep", lambda _, *given: noted(*given))
            bench.run({0: bench.writer(0, 50 * US), **{n: bench.reader(1 * US, 0) for n in range(1, 8)}})
        return times[-1]

    assert asleep("locked") - asleep("line") > 6 * 35 * NS


@pytest.mark.parametrize("kind", [RwSem, SpinningReadersRwSem])
def test_does_a_reader_on_its_way_into_the_list_keep_writers_out(kind: type[RwSem]) -> None:
    """It counts as a reader until it has wait_lock, which another one has (cpu 7). So a writer that comes
    meanwhile, though nobody has the semaphore, waits for it. Before 5.11 readers go to the list if they may
    not spin."""
    bench = Bench(wait_list="locked", kind=kind)
    if kind is SpinningReadersRwSem:
        bench.machine.engine.call_in(4 * US, bench.machine.cpus[1].set_need_resched)
    wait_lock = bench.lock._wait_lock
    assert wait_lock is not None

    def blocks(cpu: Cpu) -> Steps[None]:
        yield from wait_lock.acquire(cpu)
        cpu.work(20 * US, Activity("user"))
        yield from wait_lock.release(cpu)

    order = bench.run(
        {
            7: blocks,
            0: bench.writer(0, 10 * US),  # gives it back while the reader waits for wait_lock
            1: bench.reader(5 * US, 1 * US),
            2: bench.writer(12 * US, 1 * US),
        }
    )
    assert order == [0, 1, 2]
    assert dict(bench.entered)[1] > 20 * US


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
        cpu.work(5 * US, Activity("user"))
        results[cpu.id] = yield from bench.lock.read_trylock(cpu)
        if results[cpu.id]:
            yield from bench.lock.read_unlock(cpu)

    bench.run({0: bench.writer(0, 20 * US), 1: attempt})
    assert results == {1: False}
    bench.run({0: bench.reader(0, 20 * US), 1: attempt})
    assert results == {1: True}


def test_does_a_trylock_that_was_overtaken_repeat_its_cmpxchg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that look at the count together, one finds another count when it changes it."""
    repeated: list[int] = []
    once_more = CacheLine.write_again

    def heard(line: CacheLine, cpu: Cpu, activity: Activity) -> None:
        repeated.append(cpu.id)
        once_more(line, cpu, activity)

    monkeypatch.setattr(CacheLine, "write_again", heard)
    bench = Bench()
    taken = []

    def attempt(cpu: Cpu) -> Steps[None]:
        taken.append((yield from bench.lock.read_trylock(cpu)))

    bench.run({0: attempt})
    assert (taken, repeated) == ([True], [])
    bench.run({1: attempt, 2: attempt})
    assert (taken, len(repeated), bench.lock.readers) == ([True] * 3, 1, 3)


def test_does_a_downgrade_let_readers_in_and_keep_writers_out() -> None:
    bench = Bench()
    held = []

    def downgrading(cpu: Cpu) -> Steps[None]:
        yield from bench.lock.write_lock(cpu)
        cpu.work(30 * US, Activity("inside"))
        yield cpu.take_pending()
        yield from bench.lock.write_downgrade(cpu)
        cpu.work(100 * US, Activity("inside"))
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


def test_does_the_first_sleeper_watch_the_owner_once_the_lock_is_reserved_for_it() -> None:
    """It slept while a reader held the lock. From the hand-off on it needs no wake-up any more."""
    bench = Bench(handoff_after=60 * US)
    thieves = {cpu: bench.writer(40 * US, 10 * US, turns=20) for cpu in (2, 3)}
    bench.run({0: bench.reader(0, 39 * US), 1: bench.writer(1 * US, 0), **thieves})
    turn = next(place for place, (cpu, _) in enumerate(bench.entered) if cpu == 1)
    before, mine = bench.entered[turn - 1][1], bench.entered[turn][1]
    assert mine - before < 11 * US  # 10 us inside and some lines, not the 3 us of a wake-up


def test_does_the_head_spin_on_while_a_free_lock_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner slot is empty for a moment when the sleeper takes over: the spinners stay awake."""
    slept, sleep = set(), Scheduler.sleep

    def noting(scheduler: Scheduler, cpu: Cpu, sleeper: Sleeper, activity: Activity) -> Steps[None]:
        slept.add(cpu.id)
        return sleep(scheduler, cpu, sleeper, activity)

    monkeypatch.setattr(Scheduler, "sleep", noting)
    bench = Bench(handoff_after=60 * US)
    thieves = {cpu: bench.writer(40 * US, 3 * US, turns=60) for cpu in range(2, 6)}
    bench.run({0: bench.reader(0, 39 * US), 1: bench.writer(1 * US, 0), **thieves})
    assert slept == {1}


def test_does_a_reader_that_sleeps_get_its_turn_among_writers_that_steal() -> None:
    """Whoever wakes it in vain after `handoff_after` reserves the lock for it."""

    def waited(handoff_after: int) -> int:
        bench = Bench(handoff_after)
        thieves = {cpu: bench.writer(0, 3 * US, turns=60) for cpu in range(2, 6)}
        bench.run({**thieves, 1: bench.reader(5 * US, 0)})
        return dict(bench.entered)[1]

    assert waited(60 * US) < 80 * US


def test_does_a_spinner_whose_cpu_is_wanted_sleep_and_come_back() -> None:
    """In the middle of the OSQ as at its head; the others do not notice."""
    bench = Bench()
    for cpu in (1, 3):
        bench.machine.engine.call_in(20 * US, bench.machine.cpus[cpu].set_need_resched)
    order = bench.run({cpu: bench.writer(cpu * US, 30 * US) for cpu in range(5)})
    assert bench.machine.tally.sleeps >= 2
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert [cpu for cpu in order if cpu not in (1, 3)] == [0, 2, 4]
    assert not any(cpu.need_resched for cpu in bench.machine.cpus)


def test_do_readers_that_spin_come_in_without_sleeping() -> None:
    """Since 5.11 they sleep; before, each is the head of the OSQ for a moment."""
    for kind, sleeps in ((SpinningReadersRwSem, 0), (RwSem, 7)):
        bench = Bench(kind=kind)
        bodies = {0: bench.writer(0, 50 * US), **{cpu: bench.reader(cpu * US, 5 * US) for cpu in range(1, 8)}}
        bench.run(bodies)
        assert bench.machine.tally.sleeps == sleeps
        assert len(bench.entered) == 8


def test_do_readers_stop_spinning_after_a_writer_had_to_sleep_for_them() -> None:
    """A writer loses its patience with a reader; when it has the lock, readers that come sleep."""
    bench = Bench(kind=SpinningReadersRwSem)
    bench.run({0: bench.reader(0, 40 * US), 1: bench.writer(US, 50 * US), 2: bench.reader(60 * US, 0)})
    assert [cpu for cpu, _ in bench.entered] == [0, 1, 2]
    assert bench.machine.tally.sleeps == 2
    bench = Bench(kind=SpinningReadersRwSem)  # a patient one: the reader spins
    bench.run({0: bench.reader(0, 8 * US), 1: bench.writer(US, 50 * US), 2: bench.reader(40 * US, 0)})
    assert bench.machine.tally.sleeps == 0


def test_does_a_spinning_reader_let_sleeping_readers_in() -> None:
    """Cpu 2 has to sleep, as its cpu is wanted; cpu 3 spins, and takes it along."""
    bench = Bench(kind=SpinningReadersRwSem)
    bench.machine.engine.call_in(10 * US, bench.machine.cpus[2].set_need_resched)
    bench.run({0: bench.writer(0, 50 * US), 2: bench.reader(US, 0), 3: bench.reader(2 * US, 100 * US)})
    entered = dict(bench.entered)
    assert bench.machine.tally.sleeps == 1
    assert entered[2] < 60 * US


SIDE_BY_SIDE = [*range(8), *range(16, 24)]
"""Eight cores' two threads each, on machines with the changes `SIBLINGS`."""


@pytest.mark.parametrize("kind", [RwSem, SpinningReadersRwSem])
@pytest.mark.parametrize("one_line", [False, True])
@pytest.mark.parametrize(
    ("change", "cpus"),
    [(None, range(16)), ({"coherence": {"probe": 0.4}}, range(16)), (SIBLINGS, SIDE_BY_SIDE)],
    ids=["plain", "probe", "siblings"],
)
def test_is_nobody_forgotten_among_writers_that_downgrade(
    kind: type[RwSem], one_line: bool, change: dict[str, Any] | None, cpus: Sequence[int]
) -> None:
    """As threads map and unmap, beside faults: a release that wakes nobody shows as a deadlock.

    Holds are as long as a spinner's patience, so that some sleep and some spin.
    """
    for seed in range(20):
        jostle(small_machine(change, ties="shuffle", seed=seed), kind, one_line, cpus)


def jostle(machine: Machine, kind: type[RwSem], one_line: bool, cpus: Sequence[int]) -> None:
    draw = machine.engine.stream("what")
    count = machine.line("count")
    owner = count if one_line else machine.line("owner")
    tuning = RwSemTuning.model_validate({**RWSEM, "spin_on_readers": "3 us", "handoff_after": "40 us"})
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    lock = kind("semaphore", count, owner, nodes, scheduler, Activity("lock"), tuning)
    for _ in range(20):
        machine.engine.call_in(draw.randrange(300 * US), draw.choice(machine.cpus).set_need_resched)

    def holds(cpu: Cpu) -> Steps[None]:
        cpu.work(draw.choice([0, 1, 4]) * US, Activity("inside"))
        yield cpu.take_pending()

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(6):
            what = draw.choice(["map", "unmap", "unmap", "fault", "first fault"])
            yield from count.read(cpu)  # other fields lie on its line
            if what in ("map", "unmap"):
                yield from lock.write_lock(cpu)
                yield from holds(cpu)
                yield from count.store(cpu)
                if what == "map":
                    yield from lock.write_unlock(cpu)
                    continue
                yield from lock.write_downgrade(cpu)
            elif what == "fault":
                yield from lock.read_lock(cpu)
            elif not (yield from lock.read_trylock(cpu)):
                continue
            yield from holds(cpu)
            yield from lock.read_unlock(cpu)

    run(machine, dict.fromkeys(cpus, body))
    assert (lock.writer, lock.readers) == (None, 0)
