"""What does mprotect change, and what does it cost?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, GIB, KINDS, LEAF, Process
from machines import NS

from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CallView, CpuView
from sim.hardware import Cpu
from sim.mm import NOTHING, READ, READ_WRITE, Errno, Mprotect, Present, Rights, SegmentationFault, Status

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def vmas(process: Process) -> list[tuple[int, int, Rights]]:
    """Linux's VMAs, relative to `BASE`."""
    return [(vma.start - BASE, vma.end - BASE, vma.rights) for vma in process.space.tree]


@EVERY_KIND
def test_does_a_page_keep_its_frame_and_its_dirty_bit(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 8, BASE), ("touch", BASE + 1))
    before = process.space.root.walk(BASE + 1)
    process.do(("mprotect", BASE, 4, READ))
    after = process.space.root.walk(BASE + 1)
    assert (after.frame, after.rights, after.dirty) == (before.frame, READ, True)
    assert [process.space.status(BASE + page) for page in (0, 3, 4, 8)] == [READ, READ, READ_WRITE, None]


@EVERY_KIND
@pytest.mark.parametrize(("rights", "write"), [(READ, True), (NOTHING, True), (NOTHING, False)])
@pytest.mark.parametrize("touched", [True, False])
def test_is_a_forbidden_access_a_segmentation_fault(
    kind: str, rights: Rights, write: bool, touched: bool
) -> None:
    process = Process(kind)
    process.do(("mmap", 8, BASE), *([("touch", BASE)] if touched else []), ("mprotect", BASE, 1, rights))
    with pytest.raises(SegmentationFault):
        process.run({1: lambda cpu: process.space.access(cpu, BASE, write=write)})


@EVERY_KIND
def test_can_no_cpu_write_when_the_call_has_returned(kind: str) -> None:
    """All cpus have the translation; one takes the right to write away."""
    process = Process(kind, cpus=4)
    process.do(("mmap", 8, BASE))
    for cpu in range(4):
        process.do(("touch", BASE), cpu=cpu)
    writable: list[Cpu] = []

    def protect(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mprotect(BASE, 1, READ))
        writable.extend(other for other in process.translators(BASE) if other.tlb.frames()[BASE].writable)

    process.run({2: protect})
    assert not writable


@EVERY_KIND
def test_may_a_page_be_written_after_its_right_came_back(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 8, BASE), ("touch", BASE), ("mprotect", BASE, 8, NOTHING))
    process.do(("mprotect", BASE, 8, READ_WRITE), ("touch", BASE), ("touch", BASE + 7), cpu=1)
    process.end()


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_are_rights_that_no_tlb_was_told_of_gone_where_no_tlb_has_them(kind: str) -> None:
    """`undispatched`: no interrupt, not even the own TLB is flushed; who walks the table finds them gone."""
    process = Process(kind, cpus=3, changes={"mprotect_flush": "undispatched"})
    process.do(("mmap", 8, BASE))
    for cpu in range(2):
        process.do(("touch", BASE), cpu=cpu)
    process.do(("mprotect", BASE, 1, READ), ("touch", BASE))
    process.do(("touch", BASE), cpu=1)
    assert not any(cpu.spent[each] for cpu in process.cpus for each in ("ipi send", "ipi wait", "interrupt"))
    with pytest.raises(SegmentationFault):
        process.do(("touch", BASE), cpu=2)


# -- Linux's VMAs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ((0, 9), [(0, 9, READ)]),
        ((0, 3), [(0, 3, READ), (3, 9, READ_WRITE)]),
        ((6, 9), [(0, 6, READ_WRITE), (6, 9, READ)]),
        ((3, 6), [(0, 3, READ_WRITE), (3, 6, READ), (6, 9, READ_WRITE)]),
    ],
)
def test_is_a_vma_cut_where_its_rights_end(
    part: tuple[int, int], left: list[tuple[int, int, Rights]]
) -> None:
    process = Process("linux")
    process.do(("mmap", 9, BASE), ("touch", BASE + 4), ("mprotect", BASE + part[0], part[1] - part[0], READ))
    assert vmas(process) == left
    process.do(("mprotect", BASE, 9, READ_WRITE), cpu=1)
    assert vmas(process) == [(0, 9, READ_WRITE)]


def test_does_a_part_move_to_the_neighbour_that_has_its_new_rights() -> None:
    """The boundary moves down and up again: two VMAs all the time."""
    process = Process("linux")
    process.do(("mmap", 9, BASE), ("mprotect", BASE + 5, 4, READ))
    process.do(("mprotect", BASE + 3, 2, READ))
    assert vmas(process) == [(0, 3, READ_WRITE), (3, 9, READ)]
    process.do(("mprotect", BASE + 3, 3, READ_WRITE))
    assert vmas(process) == [(0, 6, READ_WRITE), (6, 9, READ)]


def test_do_neighbours_with_other_rights_not_merge() -> None:
    process = Process("linux")
    process.do(("mmap", 4, BASE), ("mprotect", BASE, 4, READ), ("mmap", 4, BASE + 4))
    assert vmas(process) == [(0, 4, READ), (4, 8, READ_WRITE)]


def test_does_a_hole_end_an_mprotect() -> None:
    """What lies before it is changed all the same."""
    process = Process("linux")
    process.do(("mmap", 4, BASE), ("mmap", 4, BASE + 5))
    assert process.do(("mprotect", BASE, 9, READ)) == [Errno.ENOMEM]
    assert vmas(process) == [(0, 4, READ), (5, 9, READ_WRITE)]
    assert process.do(("mprotect", BASE + 4, 2, READ)) == [Errno.ENOMEM]
    assert vmas(process) == [(0, 4, READ), (5, 9, READ_WRITE)]


class Flushes(Probe):
    """The sizes of flushes, and who has mmap_lock for writing when one begins and at each acknowledgement."""

    def __init__(self) -> None:
        self.pages: list[int] = []
        self.writers: list[object] = []
        self.lock: Any = None

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.pages.append(pages)
        self.writers.append(self.lock and self.lock.writer)

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        self.writers.append(self.lock and self.lock.writer)


def test_is_mmap_lock_held_for_writing_across_the_flush() -> None:
    flushes = Flushes()
    process = Process("linux", cpus=4, listeners=(flushes,))
    process.do(("mmap", 64, BASE), ("touch", BASE))
    flushes.lock = process.space.mmap_lock
    process.run(
        {
            1: lambda cpu: process.space.perform(cpu, Mprotect(BASE, 20, READ)),
            **dict.fromkeys((0, 2, 3), spin),
        }
    )
    assert flushes.writers == [process.cpus[1].current] * 4  # the flush, three others


def spin(cpu: Cpu) -> Steps[None]:
    cpu.work(100_000 * NS, Activity("user"))
    yield cpu.take_pending()


@pytest.mark.parametrize(
    ("first", "then", "flushes"), [(READ_WRITE, READ, 1), (READ, READ_WRITE, 1), (NOTHING, READ, 0)]
)
def test_which_changes_flush(first: Rights, then: Rights, flushes: int) -> None:
    """pte_needs_flush: raised or lowered, but not from nothing."""
    heard = Flushes()
    process = Process("linux", cpus=2, listeners=(heard,))
    process.do(("mmap", 4, BASE), ("touch", BASE))
    if first != READ_WRITE:
        process.do(("mprotect", BASE, 4, first))
    heard.pages.clear()
    process.do(("mprotect", BASE, 4, then))
    assert heard.pages == [1] * flushes


# -- CortenMM's statuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_status_above_the_leaf_pushed_down_only_where_it_must(kind: str) -> None:
    """2 GiB are two entries of level 3; one page of the second needs tables of levels 2 and 1."""
    process = Process(kind)
    process.do(("mmap", 2 * GIB, BASE), ("mprotect", BASE + GIB + 3, 1, READ))
    root = process.space.root
    assert {table.level: table.base for table in root.tables() if table.level < 3} == {
        2: BASE + GIB,
        1: BASE + GIB,
    }
    whole = root.deepest(BASE)
    assert whole.level == 3
    process.do(("mprotect", BASE, 2 * GIB, READ))
    assert whole.entry_of(BASE) == Status(READ)
    assert {process.space.status(BASE + page) for page in (GIB - 1, GIB, GIB + 3, 2 * GIB - 1)} == {READ}


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_what_does_a_transaction_over_a_leaf_cost(kind: str) -> None:
    """512 entries, 10 cycles each, of which some are present: the work is the number of entries."""
    process = Process(kind)
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE), ("touch", BASE + LEAF))
    found: list[int] = []

    def protects(cpu: Cpu) -> Steps[None]:
        before = cpu.spent["page table"]
        yield from process.space.perform(cpu, Mprotect(BASE, LEAF, READ))
        found.append(cpu.spent["page table"] - before)

    process.run({0: protects})
    lines = LEAF // 8
    assert found[0] >= LEAF * 10 * NS
    assert found[0] <= LEAF * 10 * NS + lines * 2 * NS + 200 * NS
    assert isinstance(process.space.root.walk(BASE), Present)


# -- beside other threads --------------------------------------------------------------------------------

plans = st.lists(
    st.lists(st.tuples(st.sampled_from(["protect", "unprotect", "read"]), st.integers(0, 40)), max_size=6),
    min_size=2,
    max_size=4,
)


@EVERY_KIND
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=plans)
@pytest.mark.ci
def test_may_threads_read_what_others_protect(
    kind: str, ties: str, plans: list[list[tuple[str, int]]]
) -> None:
    """Every page may be read at every instant, and no entry ends up with more rights than its mapping."""
    process = Process(kind, cpus=len(plans), ties=ties)  # type: ignore[arg-type]
    process.do(("mmap", 64, BASE), *(("touch", BASE + page) for page in range(0, 64, 5)))

    def body(cpu: Cpu) -> Steps[None]:
        for name, page in plans[cpu.id]:
            if name == "read":
                yield from process.space.access(cpu, BASE + page, write=False)
            else:
                rights = READ if name == "protect" else READ_WRITE
                yield from process.space.perform(cpu, Mprotect(BASE + page, 7, rights))

    process.run(dict.fromkeys(range(len(plans)), body))
    process.end()
