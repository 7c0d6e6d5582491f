"""Are all orders of a race gone through, once each, and is what they find repeated?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from sim.designs import Rules
from sim.engine import Activity, Steps
from sim.errors import BudgetExceeded, Deadlock
from sim.hardware import Cpu
from sim.hardware.line_kinds import LineHere
from sim.mm import READ, Mmap, Mprotect, Munmap, PageTablePage
from sim.verify import Budget, Program, Replay, read, write
from sim.verify.explore import LAYOUTS, Exploration, check_race, explore
from sim.verify.explore.deciders import AtRandom, Falling, Written, bound
from sim.verify.explore.hunting import hunt_races
from sim.verify.explore.order import LONGEST, Order
from sim.verify.explore.race import _machine, race
from sim.verify.explore.systematic import Systematic
from sim.verify.explore.traces import Trace, traced
from sim.verify.kernels import BASE
from sim.verify.locks import Turn
from sim.verify.machines import start
from sim.verify.mutants import MUTANTS
from sim.verify.races import History

ALL = (None,)
WRITER, READER = Turn(1_000, True, 1_000), Turn(1_000, False, 1_000)


def all_of(program: Program, *, reduced: bool = True, bounds: Sequence[int | None] = ALL) -> Exploration:
    return explore(program, Budget(120).take, bounds=bounds, reduced=reduced)


def turns(lock: str, *threads: Turn) -> Program:
    return Program(f"lock {lock}", "shared", [[[each] for each in threads]], order=())


# -- fewer orders, and nothing missed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "threads"),
    [
        ("ticket", (WRITER, WRITER)),
        pytest.param("mcs", (WRITER, WRITER), marks=pytest.mark.slow),
        ("queued-spin", (WRITER, WRITER)),
        pytest.param("rwsem", (WRITER, WRITER), marks=pytest.mark.slow),
    ],
)
def test_do_fewer_orders_end_as_all_of_them(lock: str, threads: Sequence[Turn]) -> None:
    program = turns(lock, *threads)
    fewer, full = all_of(program), all_of(program, reduced=False)
    assert fewer.complete
    assert full.complete
    assert fewer.ends == full.ends
    assert fewer.orders <= full.orders / 1.5


@pytest.mark.parametrize(
    ("design", "race", "limit"),
    [
        ("cortenmm-adv", "munmap-access", 1),
        pytest.param("cortenmm-adv", "fault-fault", 1, marks=pytest.mark.ci),
        pytest.param("adv", "truncate-private", 1, marks=pytest.mark.ci),
        pytest.param("linux", "cow-munmap", 1, marks=pytest.mark.slow),
        pytest.param("linux", "swapped-read-munmap", 1, marks=pytest.mark.slow),
        pytest.param("linux", "switch-munmap", 1, marks=pytest.mark.slow),
        pytest.param("lock test-and-set", "two-writers", 2, marks=pytest.mark.slow),
        pytest.param("cortenmm-rw", "munmap-fault", 1, marks=pytest.mark.ci),
        pytest.param("asterinas-0.18", "madvise-access", 1, marks=pytest.mark.ci),
        pytest.param("linux-6.17", "munmap-access", 1, marks=pytest.mark.ci),
        pytest.param("linux-6.13", "munmap-fault", 1, marks=pytest.mark.slow),
        pytest.param("cortenmm-adv", "munmap-access", 3, marks=pytest.mark.slow),
        pytest.param("lock word-rw", "writer-reader", 2, marks=pytest.mark.slow),
    ],
)
def test_do_fewer_orders_of_a_race_end_as_all_of_them(design: str, race: str, limit: int) -> None:
    program = LAYOUTS[race].program(design)
    fewer = all_of(program, bounds=(limit,))
    full = all_of(program, bounds=(limit,), reduced=False)
    assert fewer.preemptions == full.preemptions == limit
    assert fewer.ends == full.ends
    assert fewer.orders < full.orders


@pytest.mark.parametrize("name", ["mcs-does-not-wait", "qspinlock-pending-takes-a-held-lock"])
def test_do_fewer_orders_find_what_all_of_them_find(name: str) -> None:
    mutant = MUTANTS[name]
    (lock,) = (each.removeprefix("lock ") for each in mutant.designs)
    program = turns(lock, WRITER, WRITER, WRITER)
    with mutant.applied():
        fewer, full = all_of(program), all_of(program, reduced=False)
    assert fewer.failing is not None
    assert full.failing is not None
    assert type(fewer.error) is type(full.error)


def test_is_every_order_another_one() -> None:
    program, seen = turns("ticket", WRITER, WRITER), set()
    done = Exploration()

    decider = Systematic(None, reduced=False)
    while not decider.over:
        decider.begin()
        race(program, decider, done.ends)
        order = tuple(step.actor for step in decider._steps)
        assert order not in seen
        seen.add(order)
        decider.learn()
    assert len(seen) > 100


def test_is_a_bound_on_preemptions_kept_and_said() -> None:
    program = LAYOUTS["munmap-access"].program("cortenmm-adv")
    none = all_of(program, bounds=(0,))
    assert (none.orders, none.complete, none.preemptions) == (2, False, 0)
    assert none.said == "all with 0 preemptions at most; stopped at budget: 2 of unknown"
    assert all_of(program, bounds=(0, 1, 2, None)).said == "explored all 20"


def test_is_the_model_as_it_was_after_a_trace() -> None:
    before = LineHere.__dict__["write"], PageTablePage.__dict__["entries"]
    with traced(Trace()):
        assert LineHere.__dict__["write"] is not before[0]
    assert (LineHere.__dict__["write"], PageTablePage.__dict__["entries"]) == before


# -- chance ------------------------------------------------------------------------------------------------


def test_is_the_bound_of_falling_priorities_that_of_the_paper() -> None:
    assert bound(2, 50, 1) == 1 / 2
    assert bound(3, 50, 3) == 1 / (3 * 50**2)


def test_do_priorities_meet_a_bug_as_often_as_they_promise() -> None:
    """It needs two orderings: a reader sleeps behind a writer, and the last one out wakes nobody."""
    mutant = MUTANTS["rwsem-writer-wakes-nobody"]
    program = turns("rwsem", WRITER, READER)
    with mutant.applied():
        plain = Written()
        race(program, plain, set())
        found = 0
        for seed in range(200):
            try:
                race(program, Falling(Random(seed), 2, plain.steps), set())
            except Deadlock:
                found += 1
    assert found / 200 >= bound(2, plain.steps, 2)


def test_is_an_order_at_random_repeated_by_what_is_kept_of_it() -> None:
    program = LAYOUTS["munmap-fault"].program("cortenmm-rw")
    for seed in range(3):
        decider = AtRandom(Random(seed))
        once = race(program, decider, set())
        again = race(program, Written(decider.kept), set())
        assert (again.end, again.counts) == (once.end, once.counts)


# -- what is found -----------------------------------------------------------------------------------------


def test_is_what_is_found_made_small_and_repeated_from_its_file(tmp_path: Path) -> None:
    mutant = MUTANTS["rwsem-last-reader-wakes-nobody"]
    small = hunt_races(mutant, Budget(60).take, shrinking=20).caught
    with mutant.applied():
        assert small is not None
        assert small.check == "deadlock"
        assert "waits for" in small.found
        assert sum(map(len, small.program.rounds[-1])) == 3
        write(Replay("exhaustive", small.program, small.said, mutant.name), tmp_path / "x.yaml")
        again = read(tmp_path / "x.yaml").program
        assert list(again.order or ()) == list(small.program.order or ())
        for number in range(len(again.order or ())):
            order = list(again.order or ())
            del order[number]
            check_race(Program(again.kind, again.mode, again.rounds, order=order))
        with pytest.raises(Deadlock, match="waits for"):
            check_race(again)


def test_is_one_that_goes_round_in_circles_told() -> None:
    machine = _machine({}, online=2)

    def body(cpu: Cpu) -> Steps[None]:
        while True:
            cpu.work(1_000, Activity("user"))
            yield cpu.take_pending()

    for cpu in machine.cpus:
        start(cpu, body)
    with pytest.raises(BudgetExceeded, match=f"more than {LONGEST} events"):
        Order(machine, Written(), Trace()).run()


RACING = (
    "mcs-forgets-a-successor-that-links-itself",
    "queue-link-not-told",
    "rwsem-last-reader-wakes-nobody",
    "rwsem-downgrade-lets-a-writer-in",
    "bravo-revocation-skips-a-slot",
    "phase-fair-writer-does-not-drain",
    "mutex-stolen-from-its-next-owner",
    "word-rwlock-writer-beside-readers",
    "gather-frees-before-the-flush",
    "nested-flush-ignored",
    "zap-without-the-table-lock",
)
"""Bugs that need one order or another, or several."""
DEEP = ("bravo-reader-looks-once-at-the-bias", "bravo-writer-leaves-the-bias", "rcu-sync-waits-for-no-period")
"""Those that need more than that."""


@pytest.mark.ci
@pytest.mark.parametrize("name", RACING)
def test_is_a_mutant_that_needs_an_order_found(name: str) -> None:
    found = hunt_races(MUTANTS[name], Budget(60, 1_000).take, shrinking=0)
    assert found.caught is not None, f"{found.orders} orders have not found it"


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEP)
def test_is_a_deep_mutant_found(name: str) -> None:
    found = hunt_races(MUTANTS[name], Budget(120, 20_000).take, shrinking=0)
    assert found.caught is not None, f"{found.orders} orders have not found it"


@pytest.mark.slow
@pytest.mark.parametrize("name", RACING)
def test_is_a_mutant_found_by_priorities_whatever_the_seed(name: str) -> None:
    for seed in range(10):
        found = hunt_races(MUTANTS[name], Budget(60, 3_000).take, ["priority"], seed, shrinking=0)
        assert found.caught is not None, f"{found.orders} orders have not found it, from seed {seed}"


def test_does_an_interrupt_come_though_its_sender_waits_and_another_polls() -> None:
    """Who polls rests while the others go on; the interrupt that they wait for is one of those."""
    decider = Written()
    race(LAYOUTS["madvise-madvise-access"].program("asterinas-0.18"), decider, set())
    assert decider.steps < 1_000


def test_is_what_is_being_unmapped_seen_though_it_is_protected_meanwhile() -> None:
    """munmap has cleared the page and not flushed; mprotect finds nothing; a TLB may still write. This order
    was an alarm once, and is right; when munmap is over it is none any more."""
    for over in (False, True):
        past = History(Rules())
        past.end(past.begin(Mmap(1, BASE)), sure=True)
        past.accessed(BASE, past.now(), write=True, version=1)
        unmapped = past.begin(Munmap(BASE, 1))
        past.end(past.begin(Mprotect(BASE, 1, READ)), sure=True)
        if not over:
            past.accessed(BASE, past.now(), write=True, version=2)
            continue
        past.end(unmapped, sure=True)
        with pytest.raises(AssertionError, match="is let through"):
            past.accessed(BASE, past.now(), write=True, version=2)
