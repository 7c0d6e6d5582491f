"""Asterinas: what its second level does, and what it costs beside the page table alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from kernels import BASE, GIB, LEAF, Process, design
from machines import NS, run, small_machine

from sim.designs import DesignSpec, operations_of
from sim.designs.asterinas.interval_set import CAPACITY, IntervalSet
from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.spec import AsterinasSpec
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.files import from_mapping, load_spec
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    CreateFile,
    Errno,
    Footprint,
    Ftruncate,
    Mincore,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mremap,
    Munlock,
    Munmap,
    ProcessMadvise,
)

US = 1000 * NS
ASTERINAS = "asterinas-0.18"
MEMORY = {"memory": {"size_per_socket": "16 GiB"}}
SECOND_LEVEL = ("lock: vmar", "mappings")


def process(kind: str = ASTERINAS, changes: dict[str, Any] | None = None) -> Process:
    """A design file's, with *changes* to what it says."""
    spec = load_spec("design", kind, from_mapping(changes or {})).spec
    assert isinstance(spec, DesignSpec)
    return Process(kind, machine=MEMORY, spec=spec)


# -- the set of mappings ---------------------------------------------------------------------------------


def new_set() -> tuple[Any, IntervalSet, Footprint]:
    machine, footprint, spec = small_machine(), Footprint(0), design(ASTERINAS)
    assert isinstance(spec, AsterinasSpec)
    costs = at_clock(spec.vmar, machine.spec.clock)
    return machine, IntervalSet(machine, machine.cpus[0], costs, footprint), footprint


def test_is_the_set_a_tree_whatever_comes_and_goes() -> None:
    machine, tree, footprint = new_set()
    there: dict[int, Mapping] = {}
    draw = Random(1).randrange

    def body(cpu: Cpu) -> Steps[None]:
        for turn in range(900):
            page = 2 * draw(300)
            if page in there:
                gone = yield from tree.remove(cpu, page)
                assert gone == there.pop(page)
            elif turn < 600:
                there[page] = Mapping(page, page + 1 + draw(2), READ)
                yield from tree.insert(cpu, there[page])
            ordered = [there[page] for page in sorted(there)]
            assert list(tree) == ordered
            assert not list(tree.contradictions())
            point = draw(600)
            before = [each for each in ordered if each.start < point]
            behind = [each for each in ordered if each.start > point]
            assert (yield from tree.before(cpu, point)) == (before[-1] if before else None)
            assert (yield from tree.after(cpu, point)) == (behind[0] if behind else None)
            over = [each for each in ordered if each.start < point + 9 and point < each.end]
            assert (yield from tree.over(cpu, point, point + 9)) == over
            assert tree.at(point) == next((each for each in ordered if each.start <= point < each.end), None)
        assert len(tree) == len(there) > CAPACITY
        yield from tree.clear(cpu)

    run(machine, {0: body})
    assert not list(tree)
    assert not footprint.now["vma"]


def test_does_the_search_for_room_go_from_mapping_to_mapping_from_the_top() -> None:
    """The time grows with the mappings that have no room behind them."""
    machine, tree, _ = new_set()
    times = []

    def body(cpu: Cpu) -> Steps[None]:
        for number in range(40):
            yield from tree.insert(cpu, Mapping(1000 - 3 * number, 1002 - 3 * number, READ))
        for pages, expected in ((1, 1002 - 3), (2, 881)):
            before = cpu.now
            assert (yield from tree.room(cpu, pages, 16, 1002)) == expected
            times.append(cpu.now - before)

    run(machine, {0: body})
    assert times[1] > 8 * times[0]


# -- operations ------------------------------------------------------------------------------------------


def test_does_mmap_write_nothing_in_the_page_table_and_join_neighbours() -> None:
    its = process()
    assert its.do(("mmap", 4, BASE), ("mmap", 4, BASE + 4), ("mmap", 1, BASE + 9)) == [
        BASE,
        BASE + 4,
        BASE + 9,
    ]
    assert [table.level for table in its.space.root.tables()] == [4]
    assert [(each.start - BASE, each.end - BASE) for each in its.space.inner] == [(0, 8), (9, 10)]
    marks = process("cortenmm-adv")
    marks.do(("mmap", 4, BASE))
    assert len(list(marks.space.root.tables())) == 4


def test_does_munmap_cut_a_mapping_in_two() -> None:
    its = process()
    its.do(("mmap", 8, BASE), ("touch", BASE + 3), ("munmap", BASE + 3, 2))
    assert [(each.start - BASE, each.end - BASE) for each in its.space.inner] == [(0, 3), (5, 8)]
    assert not its.is_present(BASE + 3)


def test_are_frames_free_after_every_cpu_has_switched() -> None:
    """munmap has flushed, and yet RCU may have given out a reference: it waits for a grace period."""
    its = process()
    free: list[int] = []

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from its.space.perform(cpu, Mmap(1, BASE))
        yield from its.space.access(cpu, BASE)
        frame = its.space.root.walk(BASE).frame
        yield from its.space.perform(cpu, Munmap(BASE, 1))
        free.append(frame)
        assert frame in its.watch.owned

    def runs_on(cpu: Cpu) -> Steps[None]:
        cpu.work(50 * US, Activity("user"))
        yield cpu.take_pending()

    its.run({0: unmaps, 1: runs_on})
    its.end()
    assert free[0] not in its.watch.owned


def test_does_mprotect_give_no_right_to_write_but_by_a_fault() -> None:
    its = process()
    its.do(("mmap", 1, BASE), ("touch", BASE), ("mprotect", BASE, 1, READ), ("mprotect", BASE, 1, READ_WRITE))
    entry = its.space.root.walk(BASE)
    frame = entry.frame
    assert entry.rights == READ_WRITE
    assert not entry.writable
    its.do(("touch", BASE))
    assert its.space.root.walk(BASE).writable
    assert its.space.root.walk(BASE).frame == frame


def test_does_mprotect_end_at_a_hole() -> None:
    its = process()
    its.do(("mmap", 1, BASE), ("mmap", 1, BASE + 2))
    assert its.do(("mprotect", BASE, 3, READ)) == [Errno.ENOMEM]
    assert [its.space.status(BASE + page) for page in (0, 2)] == [READ, READ_WRITE]


def test_does_a_moving_cursor_have_both_places() -> None:
    its = process()
    held: list[tuple[int, int]] = []
    lock = its.space.lock

    def noting(cpu: Cpu, start: int, end: int) -> Steps[Any]:
        held.append((start - BASE, end - BASE))
        return lock(cpu, start, end)

    its.do(
        ("mmap", 2, BASE),
        ("touch", BASE),
        ("mmap", 1, BASE + 9),
        ("touch", BASE + 9),
        ("munmap", BASE + 9, 1),
    )
    type(its.space).lock, original = lambda self, *where: noting(*where), type(its.space).lock
    try:
        assert its.do(("mremap", BASE, 2, 2, True, BASE + 8)) == [BASE + 8]
    finally:
        type(its.space).lock = original
    assert (0, 10) in held
    assert its.is_present(BASE + 8)


@pytest.mark.parametrize("shared", [True, False])
def test_does_ftruncate_take_pages_of_shared_mappings_only(shared: bool) -> None:
    its = process()

    def body(cpu: Cpu) -> Steps[None]:
        file = yield from its.kernel.perform(cpu, CreateFile("a file", 2, resident=True))
        yield from its.space.perform(cpu, MmapFile(file, 2, 0, shared, BASE))
        yield from its.space.access(cpu, BASE + 1, write=False)
        yield from its.kernel.perform(cpu, Ftruncate(file, 1))

    its.run({0: body})
    assert its.is_present(BASE + 1) != shared


def test_is_refused_what_it_has_no_call_for() -> None:
    lacks = {Mlock, Munlock, Mincore, ProcessMadvise}
    assert not operations_of(design(ASTERINAS)) & lacks
    assert {Mremap, MmapShared, Ftruncate} <= operations_of(design(ASTERINAS))
    assert process().do(("mmap", 1, BASE), ("madvise", BASE, 1, "populate_write"))[1] is Errno.EINVAL


# -- what the second level costs -------------------------------------------------------------------------


def two_faults(kind: str, **changes: Any) -> Process:
    """Two cpus fault at the same time, on pages with nothing below the root in common."""
    its = process(kind, changes)
    for cpu in range(2):
        its.do(("mmap", 2 * LEAF, BASE + cpu * 512 * GIB), ("touch", BASE + cpu * 512 * GIB), cpu=cpu)

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(1, 9):
            yield from its.space.access(cpu, BASE + cpu.id * 512 * GIB + page)

    its.run({0: body, 1: body})
    return its


def spent(its: Process, *activities: str) -> int:
    return sum(cpu.spent[each] for cpu in its.cpus for each in activities)


def test_do_faults_that_share_no_table_share_the_line_of_the_vmar() -> None:
    """Each counts itself in and out. In CortenMM, and below the Vmar, they have no line in common."""
    below = ("lock: page table",)
    assert spent(two_faults("cortenmm-adv"), *SECOND_LEVEL) == 0
    its = two_faults(ASTERINAS)
    alike = two_faults(ASTERINAS, table_lock="mcs")
    assert spent(its, "lock: vmar") > 16 * 2 * 20 * NS, "sixteen faults write a line that the other one has"
    assert spent(alike, *below) == spent(two_faults("cortenmm-adv"), *below)
    assert spent(its, *below) < spent(alike, *below), "a lock of one byte needs no queue node"


@pytest.mark.parametrize(("kind", "waits"), [("cortenmm-adv-vpa", False), (ASTERINAS, True)])
def test_does_a_fault_wait_for_a_munmap_far_away(kind: str, waits: bool) -> None:
    """With its flush; at the page table alone they have nothing to do with each other."""
    its = process(kind, {"costs.unmap": "20 us"})
    its.do(("mmap", 4, BASE), *(("touch", BASE + page) for page in range(4)))
    its.do(("mmap", 4, BASE + 512 * GIB), ("touch", BASE + 512 * GIB + 1))
    ends: dict[str, int] = {}

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from its.space.perform(cpu, Munmap(BASE, 4))
        ends["munmap"] = cpu.now

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        yield from its.space.access(cpu, BASE + 512 * GIB)
        ends["fault"] = cpu.now

    its.run({0: unmaps, 1: faults})
    assert (ends["fault"] > ends["munmap"] - 10 * US) == waits
