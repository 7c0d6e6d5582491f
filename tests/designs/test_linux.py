"""Does Linux's address space do what mmap, munmap and a fault promise, under the locks that Linux takes?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, GIB, LEAF, REFCOUNT_LOCK, RWSEM_LOCK, Process
from machines import NS

from sim.designs.linux import LinuxKernel
from sim.designs.linux.addresses import HIGHEST_PAGE
from sim.designs.linux.vma import AnonVma, Vma
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import READ_WRITE, ZERO_FRAME, Errno, Madvise, Mmap, Munmap, Present, SegmentationFault
from sim.sync import SCHED

US = 1000 * NS

Changes = dict[str, Any]
both_locks = pytest.mark.parametrize("lock", [RWSEM_LOCK, REFCOUNT_LOCK], ids=["rwsem", "refcount"])


def linux(cpus: int = 2, **options: Any) -> Process:
    return Process("linux", cpus=cpus, **options)


def vmas(process: Process) -> list[tuple[int, int]]:
    """The VMAs relative to `BASE`."""
    return [(vma.start - BASE, vma.end - BASE) for vma in process.space.tree]


def mapped(*ranges: tuple[int, int], touch: tuple[int, ...] = (), **options: Any) -> Process:
    """A process with fixed mappings and touched pages, all relative to `BASE`."""
    process = linux(**options)
    process.do(*(("mmap", end - start, BASE + start) for start, end in ranges))
    process.do(*(("touch", BASE + page) for page in touch))
    return process


# -- mmap ----------------------------------------------------------------------------------------------


def test_do_mappings_without_an_address_grow_down_and_merge() -> None:
    process = linux()
    assert process.do(("mmap", 4), ("mmap", 10), ("mmap", 1)) == [
        HIGHEST_PAGE - 4,
        HIGHEST_PAGE - 14,
        HIGHEST_PAGE - 15,
    ]
    (vma,) = process.space.tree
    assert (vma.start, vma.end, vma.pages) == (HIGHEST_PAGE - 15, HIGHEST_PAGE, 15)


@pytest.mark.parametrize(
    ("before", "new", "after"),
    [
        ([(0, 4)], (4, 6), [(0, 6)]),
        ([(4, 6)], (0, 4), [(0, 6)]),
        ([(0, 4), (6, 9)], (4, 6), [(0, 9)]),
        ([(0, 4)], (5, 6), [(0, 4), (5, 6)]),
        ([(5, 6)], (0, 4), [(0, 4), (5, 6)]),
        ([(0, 9)], (3, 5), [(0, 9)]),  # replaced: cut out, then merged with both sides
        ([(0, 3), (4, 6), (7, 9)], (2, 8), [(0, 9)]),
    ],
)
def test_which_mappings_merge(
    before: list[tuple[int, int]], new: tuple[int, int], after: list[tuple[int, int]]
) -> None:
    process = mapped(*before)
    process.do(("mmap", new[1] - new[0], BASE + new[0]))
    assert vmas(process) == after


def test_do_neighbours_with_different_anon_vmas_stay_apart() -> None:
    """Each was touched while alone; the gap between joins the lower one."""
    process = mapped((0, 2), (4, 6), touch=(0, 4))
    process.do(("mmap", 2, BASE + 2))
    assert vmas(process) == [(0, 4), (4, 6)]
    lower, upper = process.space.tree
    assert lower.anon_vma is not upper.anon_vma


def test_do_the_halves_of_a_split_vma_share_an_anon_vma_and_merge_again() -> None:
    process = mapped((0, 9), touch=(0, 8))
    process.do(("munmap", BASE + 3, 3))
    lower, upper = process.space.tree
    assert lower.anon_vma is upper.anon_vma
    process.do(("mmap", 3, BASE + 3))
    assert vmas(process) == [(0, 9)]


def test_is_memory_under_a_fixed_mapping_gone() -> None:
    process = mapped((0, 9), touch=(0, 3, 4, 8))
    frame = process.space.root.walk(BASE + 3).frame
    process.do(("mmap", 2, BASE + 3), cpu=1)
    assert [process.is_present(BASE + page) for page in (0, 3, 4, 8)] == [True, False, False, True]
    assert frame not in process.kernel.pages.in_use  # type: ignore[attr-defined]
    process.do(("touch", BASE + 3))
    assert process.is_present(BASE + 3)


# -- munmap --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "gone", "after"),
    [
        ([(0, 9)], (0, 9), []),
        ([(0, 9)], (3, 5), [(0, 3), (5, 9)]),
        ([(0, 9)], (0, 2), [(2, 9)]),
        ([(0, 9)], (7, 9), [(0, 7)]),
        ([(0, 9)], (-5, 20), []),
        ([(0, 9)], (8, 20), [(0, 8)]),
        ([(0, 3), (5, 7), (8, 9)], (1, 9), [(0, 1)]),
        ([(0, 3), (5, 7), (8, 9)], (3, 5), [(0, 3), (5, 7), (8, 9)]),
        ([(0, 3), (5, 7), (8, 9)], (2, 6), [(0, 2), (6, 7), (8, 9)]),
        ([], (0, 1), []),
    ],
)
def test_what_does_munmap_leave(
    before: list[tuple[int, int]], gone: tuple[int, int], after: list[tuple[int, int]]
) -> None:
    pages = tuple(page for start, end in before for page in range(start, end))
    process = mapped(*before, touch=pages)
    process.do(("munmap", BASE + gone[0], gone[1] - gone[0]), cpu=1)
    assert vmas(process) == after
    left = [page for page in pages if process.is_present(BASE + page)]
    assert left == [page for page in pages if not gone[0] <= page < gone[1]]
    assert {page for page, _ in process.space.root.present_entries()} == {BASE + page for page in left}


def test_does_munmap_cross_page_tables() -> None:
    process = mapped((-LEAF - 5, LEAF + 5), touch=(-LEAF - 1, -1, 0, LEAF, LEAF + 4))
    process.do(("munmap", BASE - LEAF - 3, 2 * LEAF + 4))
    assert [page - BASE for page, _ in process.space.root.present_entries()] == [LEAF + 4]
    assert vmas(process) == [(-LEAF - 5, -LEAF - 3), (LEAF + 1, LEAF + 5)]


@pytest.mark.parametrize(("touched", "entries"), [(False, 1), (True, 64)])
def test_does_munmap_go_past_each_empty_entry(touched: bool, entries: int) -> None:
    """128 MiB are 64 entries of a table that has a page below it, or a part of one entry above that."""

    def time_of(cost: str) -> int:
        process = linux(changes={"costs": {"empty_entry": cost, "cond_resched": "0 ns"}})
        process.do(("mmap", 64 * LEAF, GIB), ("mmap", 1, GIB + 100 * LEAF))
        if touched:
            process.do(("touch", GIB + 100 * LEAF))
        began = process.machine.engine.now
        process.do(("munmap", GIB, 64 * LEAF))
        return process.machine.engine.now - began

    assert time_of("7 ns") - time_of("0 ns") == 7 * NS * entries


def test_is_nothing_flushed_where_nothing_was_touched() -> None:
    process = mapped((0, 9), touch=(8,))
    process.do(("munmap", BASE, 5))
    assert process.machine.tally.flushes == 0
    process.do(("munmap", BASE + 5, 4))
    assert process.machine.tally.flushes == 1


def test_does_munmap_read_lock_while_it_zaps() -> None:
    """Until the downgrade it writes; afterwards others may read, and a fault elsewhere does not wait."""
    process = mapped((0, 400), (600, 700), touch=tuple(range(400)))
    lock = process.space.mmap_lock
    states: list[tuple[bool, int]] = []
    faults: list[int] = []

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Munmap(BASE, 400))
        assert len(process.space.tlb._active) == 2

    def looks(cpu: Cpu) -> Steps[None]:
        while not states or states[-1] != (False, 0) or (True, 0) not in states:
            cpu.work(20 * NS, Activity("user"))
            yield cpu.take_pending()
            states.append((lock.writer is not None, lock.readers))
            if lock.readers and len(faults) < 100:
                yield from process.space.access(cpu, BASE + 600 + len(faults))
                faults.append(lock.readers)

    process.run({0: unmaps, 1: looks})
    assert (True, 0) in states
    assert (False, 1) in states
    assert states.index((True, 0)) < states.index((False, 1))
    assert len(faults) > 3
    assert process.cpus[1].spent[SCHED] == 0


# -- faults --------------------------------------------------------------------------------------------


def test_does_the_first_fault_of_a_vma_install_its_anon_vma() -> None:
    process = mapped((0, 9))
    (vma,) = process.space.tree
    assert vma.anon_vma is None
    process.do(("touch", BASE))
    first = vma.anon_vma
    assert isinstance(first, AnonVma)
    process.do(("touch", BASE + 1), cpu=1)
    assert vma.anon_vma is first


def test_do_racing_first_faults_agree_on_one_anon_vma_and_one_set_of_tables() -> None:
    process = linux(cpus=4)
    process.do(("mmap", 8, BASE))
    found: set[int] = set()

    def touches(cpu: Cpu) -> Steps[None]:
        yield from process.space.access(cpu, BASE + cpu.id % 2)
        found.add(id(process.space.tree.peek(BASE).anon_vma))

    process.run(dict.fromkeys(range(4), touches))
    assert len(found) == 1
    assert sum(1 for _ in process.space.root.tables()) == 4
    assert sum(1 for _ in process.space.root.present_entries()) == 2


@both_locks
def test_does_a_fault_beside_a_writer_fall_back_to_mmap_lock(lock: Changes) -> None:
    """A VMA that a writer has marked fails the trylock; the fault then waits for mmap_lock."""
    process = mapped((0, 9), touch=(0,), changes=lock)
    space = process.space
    calls: list[str] = []
    read_lock = space.mmap_lock.read_lock

    def counted(cpu: Cpu) -> Steps[None]:
        calls.append("read_lock")
        yield from read_lock(cpu)

    def writes(cpu: Cpu) -> Steps[None]:
        yield from space.write_lock(cpu)
        yield from space.tree.peek(BASE).lock.start_write(cpu)
        cpu.work(20 * US, Activity("user"))
        yield cpu.take_pending()
        assert not process.is_present(BASE + 1)
        yield from space.write_unlock(cpu)

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from space.access(cpu, BASE + 1)
        assert cpu.engine.now > 20 * US

    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(type(space.mmap_lock), "read_lock", lambda lock, cpu: counted(cpu))
        process.run({0: writes, 1: faults})
        assert calls == ["read_lock"]
        process.do(("touch", BASE + 2), cpu=1)  # the sequence has moved on: the VMA's own lock is enough
        assert calls == ["read_lock"]
    assert process.is_present(BASE + 1)


@both_locks
def test_does_a_writer_wait_for_faults_in_the_vma(lock: Changes) -> None:
    process = mapped((0, 9), touch=(0,), changes=lock)
    space = process.space
    vma = space.tree.peek(BASE)
    order: list[str] = []

    def reads(cpu: Cpu) -> Steps[None]:
        yield from vma.lock.start_read(cpu)
        cpu.work(9 * US, Activity("user"))
        yield cpu.take_pending()
        order.append("fault done")
        yield from vma.lock.end_read(cpu)

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(2 * US, Activity("user"))
        yield from space.perform(cpu, Munmap(BASE, 1))
        order.append("unmapped")

    process.run({0: reads, 1: unmaps})
    assert order == ["fault done", "unmapped"]


def race_with_munmap(delay: int, lock: Changes) -> tuple[Process, bool]:
    """One thread unmaps what another faults in; returns whether the fault came to a mapped page."""
    slow = {**lock, "costs": {"lock_vma": "2 us"}}  # between finding the VMA and locking it
    process = mapped((0, 4), (5, 9), touch=(1, 5), changes=slow)
    space = process.space

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(4 * US, Activity("user"))
        yield from space.perform(cpu, Munmap(BASE, 4))

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        yield from space.access(cpu, BASE + 2)

    try:
        process.run({0: unmaps, 1: faults})
    except SegmentationFault:
        return process, False
    return process, True


@both_locks
def test_does_no_fault_see_a_munmap_half_done(lock: Changes) -> None:
    """Whenever it comes, it is done before the munmap and zapped, or it finds no VMA."""
    outcomes = set()
    for delay in range(0, 6 * US, 30 * NS):
        process, reached = race_with_munmap(delay, lock)
        outcomes.add(reached)
        if reached:
            assert not process.is_present(BASE + 2)
            assert not process.translators(BASE + 2)
    assert outcomes == {True, False}


def test_is_a_fault_that_ignores_detached_vmas_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: it maps a page into a VMA that has left the tree."""
    monkeypatch.setattr(Vma, "detached", property(lambda vma: False, lambda vma, value: None))
    with pytest.raises(ModelError, match=r"is present .* and nothing is mapped there"):
        test_does_no_fault_see_a_munmap_half_done(RWSEM_LOCK)


def test_is_a_page_outside_of_all_vmas_a_segmentation_fault() -> None:
    with pytest.raises(SegmentationFault, match=rf"cpu 0 touched page {BASE + 9:#x}, which no VMA covers"):
        mapped((0, 9), touch=(9,))


def test_does_a_read_of_an_untouched_page_find_zeros_that_nobody_owns() -> None:
    """No frame, no anon_vma, no counter (mm/memory.c do_anonymous_page). A write replaces the zero page."""
    process = mapped((0, 9))
    space, frames = process.space, len(pages_of(process).in_use)

    def body(cpu: Cpu) -> Steps[None]:
        yield from space.access(cpu, BASE, write=False)
        yield from space.access(cpu, BASE + 1, write=False)
        assert len(pages_of(process).in_use) == frames + 3  # tables
        entry = space.root.walk(BASE)
        assert entry == space.root.walk(BASE + 1) == Present(ZERO_FRAME, READ_WRITE, copy_on_write=True)
        assert (entry.accessed, entry.dirty) == (True, False)
        assert not cpu.tlb.lookup(BASE).writable
        assert space.tree.peek(BASE).anon_vma is None
        assert space.stat.anon_pages == 0
        yield from space.access(cpu, BASE)
        entry = space.root.walk(BASE)
        assert (entry.special, entry.copy_on_write, entry.dirty) == (False, False, True)
        assert cpu.tlb.lookup(BASE).writable
        assert space.stat.anon_pages == 1

    process.run({0: body})
    assert process.machine.tally.flushes == 1
    assert space.root.walk(BASE + 1).special
    process.do(("munmap", BASE, 9), cpu=1)
    process.end()


def test_may_a_page_be_written_that_was_only_read_since_it_was_made() -> None:
    """The dirty bit of a page of one's own is the hardware's: no fault."""
    process = mapped((0, 9), touch=(0,))
    process.space.root.walk(BASE).dirty = False

    def body(cpu: Cpu) -> Steps[None]:
        yield from process.space.access(cpu, BASE, write=False)
        entry = process.space.root.walk(BASE)
        assert (entry.rights, entry.accessed, entry.dirty) == (READ_WRITE, True, False)
        assert not cpu.tlb.lookup(BASE).writable
        yield from process.space.access(cpu, BASE, write=True)
        assert process.space.root.walk(BASE) is entry
        assert entry.dirty
        assert cpu.tlb.lookup(BASE).writable

    process.run({1: body})


# -- page tables ---------------------------------------------------------------------------------------


def tables(process: Process) -> list[tuple[int, int]]:
    """Level and first page (relative to `BASE`) of all tables below the root."""
    return [(table.level, table.base - BASE) for table in process.space.root.tables() if table.level < 4]


def test_are_the_tables_of_a_hole_freed_with_the_last_mapping_in_it() -> None:
    """Those that lie wholly between the neighbours (mm/memory.c free_pgtables)."""
    process = mapped((-LEAF, 5), (LEAF + 7, 2 * LEAF), touch=(-1, 0, LEAF + 7))
    top, below = [(3, -BASE)], [(2, -GIB), (1, -LEAF)]
    assert tables(process) == [*top, *below, (2, 0), (1, 0), (1, LEAF)]
    process.do(("munmap", BASE + LEAF + 7, 9))  # another part of the table is still mapped
    assert tables(process) == [*top, *below, (2, 0), (1, 0), (1, LEAF)]
    process.do(("munmap", BASE + LEAF + 16, LEAF))
    assert tables(process) == [*top, *below, (2, 0), (1, 0)]
    process.do(("munmap", BASE, 5))
    assert tables(process) == [*top, *below]
    process.do(("munmap", BASE - LEAF, LEAF), cpu=1)
    assert tables(process) == []
    assert process.space.stat.pgtables_bytes == 0
    process.end()


def test_does_freeing_tables_interrupt_a_cpu_that_idles_and_only_once() -> None:
    """A cpu in lazy-TLB mode could still walk to them; it leaves the space and is asked no more."""
    handled: list[int] = []

    class Watches(Probe):
        def ipi_handle(self, cpu: CpuView, calls: object) -> None:
            handled.append(cpu.id)

    process = linux(cpus=2, listeners=(Watches(),))
    space = process.space
    process.do(("mmap", 4 * LEAF, BASE), ("mmap", 1, BASE + 8 * LEAF), ("touch", BASE + 8 * LEAF))
    process.do(("touch", BASE), cpu=1)

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(9 * US, Activity("user"))
        for start, expected in ((0, [1]), (LEAF, [1])):
            yield from space.access(cpu, BASE + start)
            yield from space.perform(cpu, Munmap(BASE + start, LEAF))
            assert handled == expected
        assert process.cpus[1].tlb.stale

    process.run({0: body})
    process.do(("touch", BASE + 2 * LEAF), cpu=1)  # it is back
    handled.clear()
    process.run({0: lambda cpu: space.perform(cpu, Munmap(BASE + 2 * LEAF, LEAF))})
    assert handled == [1]
    process.end()


# -- gathers -------------------------------------------------------------------------------------------


class Sizes(Probe):
    """What each flush was for: pages, 0 for all of the space."""

    def __init__(self) -> None:
        self.pages: list[int] = []

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.pages.append(pages)


def test_does_a_flush_span_from_the_first_page_to_the_last() -> None:
    """The kernel keeps a range, not a list (tlb_flush_pte_range): what lies between is flushed too."""
    sizes = Sizes()
    process = mapped((0, 40), touch=(0, 3, 19, 39), listeners=(sizes,))
    process.do(("discard", BASE, 20), ("discard", BASE + 20, 10), ("discard", BASE + 30, 10))
    assert sizes.pages == [20, 1]


def test_is_a_large_unmapping_flushed_and_freed_in_parts() -> None:
    sizes = Sizes()
    process = mapped((0, 3 * LEAF), listeners=(sizes,))  # a gather holds 600 pages here
    process.do(*(("touch", BASE + page) for page in range(3 * LEAF)))
    process.do(("munmap", BASE, 3 * LEAF), ("mmap", 1, BASE))
    assert sizes.pages == [600, 600, 3 * LEAF]  # the tables are the whole range's
    process.end()


def test_do_two_gathers_at_a_time_flush_everything() -> None:
    """mm_tlb_flush_nested: neither knows what the other has cleared (mm/mmu_gather.c tlb_finish_mmu)."""
    sizes = Sizes()
    process = mapped((0, 900), touch=tuple(range(900)), listeners=(sizes,))

    def discards(pages: int) -> Any:
        return lambda cpu: process.space.perform(cpu, Madvise(BASE + 450 * cpu.id, pages))

    process.run({0: discards(200), 1: discards(440)})
    assert sizes.pages == [0, 0]
    process.do(("discard", BASE + 300, 100))
    assert sizes.pages == [0, 0, 100]
    process.end()


def test_do_two_faults_on_one_page_map_it_once() -> None:
    process = mapped((0, 9), touch=(1,))
    process.run(dict.fromkeys((0, 1), lambda cpu: process.space.access(cpu, BASE)))
    assert len(process.translators(BASE)) == 2
    assert sum(1 for _ in process.space.root.present_entries()) == 2


# -- pages ---------------------------------------------------------------------------------------------


def pages_of(process: Process) -> Any:
    assert isinstance(process.kernel, LinuxKernel)
    return process.kernel.pages


def lru_of(process: Process) -> Any:
    assert isinstance(process.kernel, LinuxKernel)
    return process.kernel.lru


def drain_batches(process: Process) -> None:
    """Empty the LRU batch of each cpu, which the kernel has booted with."""
    process.run({cpu.id: lru_of(process).drain for cpu in process.cpus})


def test_does_a_page_wait_for_the_lru_until_its_batch_is_full() -> None:
    process = linux(changes={"switches": {"lru_drain_on_zap": False}})
    lru = lru_of(process)
    drain_batches(process)
    process.do(("mmap", 9, BASE))
    frames = []
    for page in range(4):
        process.do(("touch", BASE + page))
        frames.append(process.space.root.walk(BASE + page).frame)
        assert len(lru._batches[0]) == (page + 1) % 4
        assert set(lru.lists).isdisjoint(frames) is (page < 3)
    assert set(lru.lists) >= set(frames)


@pytest.mark.parametrize("drain", [True, False])
def test_does_munmap_drain_the_batch_until_6_13(drain: bool) -> None:
    process = linux(changes={"switches": {"lru_drain_on_zap": drain}})
    pages, lru = pages_of(process), lru_of(process)
    drain_batches(process)
    process.do(("mmap", 9, BASE), ("touch", BASE), ("touch", BASE + 5))
    frame = process.space.root.walk(BASE).frame
    process.do(("munmap", BASE, 1))
    assert len(lru._batches[0]) == (0 if drain else 2)
    # A page that waits in a batch is held by it, so it is free only when the batch is emptied.
    assert (frame in pages.in_use) is not drain
    process.do(("munmap", BASE + 5, 1), ("touch", BASE + 7), ("touch", BASE + 8))
    assert (
        frame in pages.in_use
    ) is drain  # freed at once it has a new page now, else the full batch lets it go


def test_does_a_page_that_another_cpu_unmaps_stay_in_the_batch_of_the_first() -> None:
    process = linux()
    pages = pages_of(process)
    drain_batches(process)
    process.do(("mmap", 9, BASE), ("touch", BASE))
    frame = process.space.root.walk(BASE).frame
    process.do(("munmap", BASE, 9), cpu=1)
    assert pages.in_use.refcount[frame] == 1  # the batch's
    process.do(("mmap", 1, BASE), ("munmap", BASE, 1))  # cpu 0 drains its batch
    assert frame not in pages.in_use


def test_does_a_page_that_is_unmapped_while_its_batch_is_drained_leave_no_trace() -> None:
    """Cpu 0 holds the lru lock for long; cpu 1 waits for it with a page of that batch in its hands."""
    changes = {"switches": {"lru_drain_on_zap": False}, "costs": {"lru_page": "1 us"}}
    for delay in range(0, 8 * US, 100 * NS):
        process = mapped((0, 6), (LEAF, LEAF + 2), changes=changes)
        space, pages, lru = process.space, pages_of(process), lru_of(process)
        drain_batches(process)
        process.do(*(("touch", BASE + page) for page in (LEAF, 0, 1, 2)))  # a full batch, on the LRU now
        process.do(*(("touch", BASE + page) for page in (LEAF + 1, 3, 4)))

        def faults(cpu: Cpu, space: Any = space, delay: int = delay) -> Steps[None]:
            cpu.work(delay, Activity("user"))
            yield from space.access(cpu, BASE + 5)  # fills the batch again

        process.run({0: faults, 1: lambda cpu, space=space: space.perform(cpu, Munmap(BASE + LEAF, 2))})
        assert set(lru.lists) <= pages.in_use.refcount.keys()


def test_does_a_cpu_refill_from_the_zone_and_spill_into_it() -> None:
    process = linux()
    pages = pages_of(process)
    zone = pages.zones[0]
    while zone.pcp[0]:
        zone.buddy.free(zone.pcp[0].pop())
    free = zone.buddy.free_frames
    moved: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        frames = set()
        for _ in range(14):
            frames.add((yield from pages.allocate(cpu)))
        assert len(frames) == 14
        moved.append((free - zone.buddy.free_frames, len(zone.pcp[0])))
        for frame in frames:
            yield from pages.free(cpu, frame)
        moved.append((free - zone.buddy.free_frames, len(zone.pcp[0])))

    process.run({0: body})
    assert moved[0] == (16, 2)  # four refills of 4
    assert moved[1] == (16 - 8, 8)  # at 12 pages 4 go back, twice
    assert process.cpus[0].spent["lock: zone"] > 0


def test_does_a_page_come_from_the_node_of_its_toucher_and_go_back_there() -> None:
    process = linux(cpus=16)
    near, far = pages_of(process).zones
    process.do(("mmap", 2, BASE), ("touch", BASE))
    process.do(("touch", BASE + 1), cpu=15)
    frames = [process.space.root.walk(BASE + page).frame for page in (0, 1)]
    assert [pages_of(process)._zone_of(frame) for frame in frames] == [near, far]
    process.do(("munmap", BASE, 2), ("mmap", 1, BASE))  # cpu 0 frees both, each to its own zone
    process.do(("munmap", BASE, 1), cpu=15)  # and the batch of cpu 15 is drained
    assert not {*frames} & pages_of(process).in_use.refcount.keys()
    assert all(pages_of(process)._zone_of(frame) is far for cpu in far.pcp for frame in cpu)


def test_is_there_one_zone_for_all_in_a_guest_without_numa() -> None:
    process = linux(cpus=16, machine={"guest": True, "topology": {"numa_nodes": 1}})
    (zone,) = pages_of(process).zones
    assert zone.frames == 2 * (1 << 18)
    process.do(("mmap", 2, BASE), ("touch", BASE))
    process.do(("touch", BASE + 1), cpu=15)
    frames = [process.space.root.walk(BASE + page).frame for page in (0, 1)]
    assert [pages_of(process).frames.node(frame, 7) for frame in frames] == [0, 1]


# -- several threads -----------------------------------------------------------------------------------


class Commits(Probe):
    """What is mapped, as changes take effect: when their thread gives up writing under mmap_lock."""

    def __init__(self) -> None:
        self.lock: object = None
        self.doing: dict[object, tuple[str, range]] = {}
        self.mapped: set[int] = set()

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        if lock is self.lock and mode == "write":
            self._commit(cpu)

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        if lock is self.lock:
            self._commit(cpu)

    def _commit(self, cpu: CpuView) -> None:
        name, pages = self.doing[cpu]
        (self.mapped.update if name == "mmap" else self.mapped.difference_update)(pages)


ranges = st.tuples(st.integers(0, 30), st.integers(1, 12))
operation = st.tuples(st.sampled_from(["mmap", "munmap"]), ranges)


@given(
    st.lists(st.lists(operation, max_size=5), min_size=2, max_size=4),
    st.sampled_from(["fifo", "shuffle"]),
    st.sampled_from([RWSEM_LOCK, REFCOUNT_LOCK]),
)
def test_do_overlapping_changes_take_effect_in_the_order_of_the_lock(
    plans: list[list[tuple[str, tuple[int, int]]]], ties: Any, lock: Changes
) -> None:
    commits = Commits()
    process = linux(cpus=len(plans), ties=ties, listeners=(commits,), changes=lock)
    space = process.space
    commits.lock = space.mmap_lock
    oracle = commits.mapped

    def body(cpu: Cpu) -> Steps[None]:
        for name, (start, pages) in plans[cpu.id]:
            commits.doing[cpu] = (name, range(start, start + pages))
            if name == "mmap":
                yield from space.perform(cpu, Mmap(pages, BASE + start))
            else:
                yield from space.perform(cpu, Munmap(BASE + start, pages))

    process.run(dict.fromkeys(range(len(plans)), body))
    assert {page for page in range(50) if process.is_mapped(BASE + page)} == oracle


# -- madvise -------------------------------------------------------------------------------------------


def test_does_a_discarded_page_fault_again_and_nobody_translate_it() -> None:
    process = mapped((0, 9), touch=(2, 3, 4))
    process.do(("touch", BASE + 3), cpu=1)
    watched: list[int] = []

    def discards(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from process.space.perform(cpu, Madvise(BASE + 3, 4))
        watched.append(len(process.translators(BASE + 3)))
        assert process.is_present(BASE + 2)
        assert not process.is_present(BASE + 3)
        yield from process.space.access(cpu, BASE + 3)

    def spins(cpu: Cpu) -> Steps[None]:
        cpu.work(50 * US, Activity("user"))
        yield cpu.take_pending()

    process.run({0: discards, 1: spins})
    assert watched == [0]
    assert process.machine.tally.interrupts[1] == 1
    assert vmas(process) == [(0, 9)]
    assert process.is_present(BASE + 3)
    assert not process.is_present(BASE + 4)


def test_is_nothing_flushed_where_nothing_was_there_to_discard() -> None:
    process = mapped((0, 9))
    process.do(("discard", BASE, 9))
    assert process.machine.tally.flushes == 0


def test_do_two_threads_discard_side_by_side() -> None:
    """mmap_lock is taken for reading only: neither sleeps, and both are inside at once."""
    inside: list[int] = []

    def discards(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Madvise(BASE + 300 * cpu.id, 300))

    def looks(cpu: Cpu) -> Steps[None]:
        for _ in range(200):
            yield 1 * US
            cpu.charge(1 * US, Activity("looks"))
            inside.append(process.space.mmap_lock.readers)

    process = mapped((0, 600), touch=tuple(range(600)), cpus=3)
    process.run({0: discards, 1: discards, 2: looks})
    assert max(inside) == 2
    assert SCHED not in process.cpus[0].spent
    assert list(process.space.root.present_entries()) == []


def test_is_all_that_is_mapped_of_a_range_with_holes_discarded() -> None:
    process = mapped((0, 4), (6, 8), touch=(0, 2, 3, 7))
    assert process.do(("discard", BASE + 2, 9)) == [Errno.ENOMEM]
    assert [page - BASE for page, _ in process.space.root.present_entries()] == [0]
    assert process.do(("discard", BASE, 0), ("discard", BASE, 4)) == [None, None]


# -- before VMA locks ----------------------------------------------------------------------------------


def test_does_a_fault_take_mmap_lock_before_vma_locks() -> None:
    old = linux(changes={"vma_lock": "none"})
    new = linux()
    for process in (old, new):
        process.do(("mmap", 4, BASE))
        process.do(("touch", BASE), ("touch", BASE + 1))
    assert old.cpus[0].spent["lock: vma"] == 0 < new.cpus[0].spent["lock: vma"]
    assert old.is_present(BASE + 1)
