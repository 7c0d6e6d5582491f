"""Do CortenMM's transactions change what they say, under the locks of both protocols?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, GIB, LEAF, Process, entry_of, table_of
from machines import NS

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.protocols.adv import AdvProtocol
from sim.designs.cortenmm.va_alloc import FIRST_PAGE, LAST_PAGE
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    MAX_ORDER,
    PAGES_PER_ENTRY,
    Mmap,
    Munmap,
    OutOfMemory,
    PageTablePage,
    Present,
    SegmentationFault,
    Status,
    size_of,
)
from sim.sync import BravoLock

US = 1000 * NS
SLOW = {"costs": {"query": "2 us", "mark": "2 us"}}
"""Transactions long enough to meet."""
BOTH = pytest.mark.parametrize("kind", ["rw", "adv"])


def pieces(table: PageTablePage) -> Iterator[tuple[int, int]]:
    """The marks in a table, as (first page relative to `BASE`, pages)."""
    for slot in range(512):
        entry = table.get(slot)
        if isinstance(entry, PageTablePage):
            yield from pieces(entry)
        elif isinstance(entry, Status):
            span = PAGES_PER_ENTRY[table.level]
            yield table.base + slot * span - BASE, span


def tables(process: Process) -> list[tuple[int, int]]:
    """All tables in pre-order, as (level, first page relative to `BASE`)."""
    return [(table.level, table.base - BASE) for table in process.space.root.tables()][1:]


def cursors(process: Process) -> list[tuple[list[tuple[int, int]], list[int]]]:
    """Note what each cursor holds once it is locked: (level, base) in order, and the levels of its path."""
    seen: list[tuple[list[tuple[int, int]], list[int]]] = []
    lock = process.space.protocol.lock

    def noting(cursor: Cursor) -> Steps[None]:
        yield from lock(cursor)
        held = [(table.level, table.base - BASE) for table in cursor.locked]
        seen.append((held, [table.level for table in cursor.path]))

    process.space.protocol.lock = noting
    return seen


# -- marks ---------------------------------------------------------------------------------------------


@BOTH
def test_is_a_range_marked_in_the_largest_aligned_pieces(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 2 * GIB + LEAF + 3, BASE - 2))
    assert list(pieces(process.space.root)) == [
        (-2, 1),
        (-1, 1),
        (0, GIB),
        (GIB, GIB),
        (2 * GIB, LEAF),
        (2 * GIB + LEAF, 1),
    ]
    assert not list(process.space.root.present_entries())


@BOTH
def test_is_a_mark_pushed_down_level_by_level_when_a_page_of_it_is_touched(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 2 * GIB, BASE), ("touch", BASE + 5))
    assert isinstance(entry_of(process.space.root, BASE + 5), Present)
    assert isinstance(entry_of(process.space.root, BASE + GIB), Status)
    left = list(pieces(process.space.root))
    assert left == [
        *((page, 1) for page in range(LEAF) if page != 5),
        *((page, LEAF) for page in range(LEAF, GIB, LEAF)),
        (GIB, GIB),
    ]
    assert tables(process) == [(3, -BASE), (2, 0), (1, 0)]


@BOTH
def test_does_unmapping_a_part_leave_the_rest_of_a_mark(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 2 * GIB, BASE), ("munmap", BASE + LEAF - 1, 2))
    assert [process.is_mapped(BASE + LEAF + page) for page in (-2, -1, 0, 1)] == [True, False, False, True]
    assert sum(span for _, span in pieces(process.space.root)) == 2 * GIB - 2
    process.do(("mmap", 1, BASE + LEAF), ("touch", BASE + LEAF))
    assert process.is_present(BASE + LEAF)


@BOTH
def test_may_a_range_be_unmapped_that_was_never_mapped(kind: str) -> None:
    process = Process(kind)
    process.do(("munmap", BASE + 3, 2), ("munmap", BASE - GIB, 2 * GIB))
    assert not list(pieces(process.space.root))


@BOTH
def test_is_a_page_without_a_mark_a_segmentation_fault(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 4, BASE), ("munmap", BASE, 1))
    with pytest.raises(SegmentationFault, match=rf"cpu 1 touched page {BASE:#x}, which holds None"):
        process.do(("touch", BASE), cpu=1)


@BOTH
def test_may_a_page_be_read_first_and_written_later(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 1, BASE), ("touch", BASE))
    process.run({0: lambda cpu: process.space.access(cpu, BASE, write=False)})
    process.run({1: lambda cpu: process.space.access(cpu, BASE, write=True)})
    assert len(process.translators(BASE)) == 2


@BOTH
def test_do_two_faults_on_one_page_map_it_once(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 9, BASE), ("touch", BASE + 1))
    process.run(dict.fromkeys((0, 1), lambda cpu: process.space.access(cpu, BASE)))
    assert len(process.translators(BASE)) == 2
    process.end()


# -- whole tables --------------------------------------------------------------------------------------


@BOTH
def test_are_whole_subtrees_detached_and_their_pages_removed(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", GIB, BASE - LEAF))
    process.do(*(("touch", BASE + page) for page in (-1, 0, LEAF + 7, 5 * LEAF)))
    gone = [table_of(process.space.root, BASE + page, 1) for page in (0, LEAF)]
    partly = table_of(process.space.root, BASE + 5 * LEAF, 1)
    process.do(("munmap", BASE - 1, 5 * LEAF + 9), cpu=1)
    assert all(table is not None and table.stray for table in gone)
    assert partly is not None
    assert partly is table_of(process.space.root, BASE + 5 * LEAF, 1)
    assert not partly.stray
    assert not list(process.space.root.present_entries())
    assert partly.present == LEAF - 8
    process.end()


def test_are_adv_tables_freed_only_after_every_cpu_has_switched() -> None:
    process = Process("adv", cpus=3)
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE), ("touch", BASE + LEAF))
    frames = {process.space.root.walk(BASE).frame, process.space.root.walk(BASE + LEAF).frame}
    leaves = {table.frame for table in process.space.root.tables() if table.level == 1}
    kernel: Any = process.kernel

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Munmap(BASE, 2 * LEAF))
        cpu.work(50 * US, Activity("user"))
        yield cpu.take_pending()
        assert leaves <= kernel.frames.in_use.refcount.keys()
        assert kernel.rcu.deferred == 2

    def stays(cpu: Cpu) -> Steps[None]:
        cpu.work(30 * US, Activity("user"))
        yield cpu.take_pending()

    process.run({0: unmaps, 1: stays, 2: stays})
    process.run({})
    assert not leaves & kernel.frames.in_use.refcount.keys()
    assert frames <= kernel.frames.in_use.refcount.keys()  # these wait for the sweeps
    process.end()


def test_are_rw_tables_freed_with_the_flush() -> None:
    process = Process("rw", cpus=3)
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE))
    (leaf,) = {table.frame for table in process.space.root.tables() if table.level == 1}
    process.do(("munmap", BASE, 2 * LEAF))
    kernel: Any = process.kernel
    assert leaf in kernel.frames.in_use
    process.end()
    assert leaf not in kernel.frames.in_use


# -- locking -------------------------------------------------------------------------------------------


def test_does_adv_lock_one_leaf_for_a_fault_and_nothing_above() -> None:
    process = Process("adv")
    process.do(("mmap", GIB, BASE - 1))
    seen = cursors(process)
    process.do(("touch", BASE + 3), ("touch", BASE + 4), ("munmap", BASE + 3, 2))
    assert seen == [([(1, 0)], [])] * 3


def test_does_adv_lock_in_pre_order_what_the_range_touches() -> None:
    process = Process("adv")
    process.do(("mmap", 4 * LEAF, BASE - 2 * LEAF))
    process.do(*(("touch", BASE + page * LEAF) for page in (-2, -1, 0, 1)))
    seen = cursors(process)
    process.do(("munmap", BASE - LEAF - 1, LEAF + 2))
    ((locked, path),) = seen
    assert locked == [
        (3, -BASE),
        (2, -GIB),
        (1, -2 * LEAF),
        (1, -LEAF),
        (2, 0),
        (1, 0),
    ]
    assert path == []


def test_does_rw_write_lock_the_parent_of_a_missing_child() -> None:
    process = Process("rw")
    seen = cursors(process)
    process.do(("mmap", 1, BASE), ("mmap", 1, BASE + 1), ("mmap", 1, BASE + LEAF), ("mmap", 1, BASE + GIB))
    assert seen == [
        ([(4, -BASE)], []),  # nothing exists: the root
        ([(1, 0)], [4, 3, 2]),
        ([(2, 0)], [4, 3]),
        ([(3, -BASE)], [4]),
    ]


def test_does_rw_lock_the_lowest_page_that_contains_the_range() -> None:
    process = Process("rw")
    process.do(("mmap", 4 * LEAF, BASE - 2 * LEAF))
    process.do(*(("touch", BASE + page * LEAF) for page in (-2, -1, 0, 1)))
    seen = cursors(process)
    process.do(("munmap", BASE - LEAF - 1, 2), ("munmap", BASE - 1, 2))
    assert seen == [([(2, -GIB)], [4, 3]), ([(3, -BASE)], [4])]


def test_do_rw_readers_share_the_way_down() -> None:
    """Two faults in different leaves hold the upper pages at once; their leaves are their own."""
    process = Process("rw", changes=SLOW)
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE), ("touch", BASE + LEAF))
    process.do(("touch", BASE + 2), cpu=1)  # its frame cache and table pool are filled
    upper = table_of(process.space.root, BASE, 2)
    assert upper is not None
    most = 0
    query = Cursor.query

    def looks(cursor: Cursor, page: int) -> Steps[None]:
        nonlocal most
        most = max(most, upper.lock.readers)
        return query(cursor, page)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cursor, "query", looks)
        process.run({n: lambda cpu: process.space.access(cpu, BASE + cpu.id * LEAF + 1) for n in (0, 1)})
    assert most == 2
    assert upper.lock.readers == 0


def race_with_replacement(delay: int) -> tuple[Process, int]:
    """Cpu 0 maps anew what cpu 1 touches: returns how often the walk of cpu 1 ended on a stray page."""
    process = Process("adv", changes=SLOW)
    space = process.space
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE + 1), ("touch", BASE + LEAF))
    walk = space.protocol._walk_and_lock
    restarts = 0

    def walks(cursor: Cursor) -> Steps[None]:
        nonlocal restarts
        covering = yield from walk(cursor)
        restarts += covering is None
        return covering

    def replaces(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from space.perform(cpu, Mmap(2 * LEAF, BASE))

    def touches(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        yield from space.access(cpu, BASE)

    space.protocol._walk_and_lock = walks
    process.run({0: replaces, 1: touches})
    process.end()
    return process, restarts


def test_does_adv_restart_when_the_covering_page_has_become_stray() -> None:
    restarted = 0
    for delay in range(0, 10 * US, 100 * NS):
        process, restarts = race_with_replacement(delay)
        restarted += restarts
        assert process.is_mapped(BASE)
    assert restarted > 3


def test_is_a_walk_without_the_stray_check_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: it maps its page into a table that is no longer linked, and the frame is lost."""
    monkeypatch.setattr(PageTablePage, "stray", property(lambda table: False, lambda table, value: None))
    with pytest.raises(AssertionError):
        test_does_adv_restart_when_the_covering_page_has_become_stray()


def race_of_two_transactions(kind: str, delay: int) -> Process:
    """Cpu 0 unmaps both leaves of a table, cpu 1 faults in one of the other two, in another, in a new one."""
    process = Process(kind, changes=SLOW)
    space = process.space
    process.do(("mmap", 8 * LEAF, BASE))
    process.do(*(("touch", BASE + leaf * LEAF) for leaf in range(4)))

    def replaces(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from space.perform(cpu, Mmap(2 * LEAF, BASE))

    def touches(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        for leaf in (0, 2, 1, 6):
            yield from space.access(cpu, BASE + leaf * LEAF + 3)

    process.run({0: replaces, 1: touches})
    process.end()
    return process


@BOTH
def test_do_transactions_on_overlapping_ranges_exclude_each_other(kind: str) -> None:
    for delay in range(0, 10 * US, 100 * NS):
        race_of_two_transactions(kind, delay)


def test_is_adv_without_locks_below_the_covering_page_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a lock-free walk comes in below the locked page."""

    def nothing(protocol: AdvProtocol, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        return
        yield

    def disown(protocol: AdvProtocol, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        for table in child.tables():
            table.stray = True
            cursor.unlinked.append(table)
        return
        yield

    monkeypatch.setattr(AdvProtocol, "_lock_below", nothing)
    monkeypatch.setattr(AdvProtocol, "disown", disown)
    with pytest.raises(AssertionError, match="both hold pages from"):
        test_do_transactions_on_overlapping_ranges_exclude_each_other("adv")


def test_is_rw_without_read_locks_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: whoever write-locks an upper page no longer waits for those below."""

    def nothing(lock: BravoLock, cpu: Cpu) -> Steps[None]:
        return
        yield

    monkeypatch.setattr(BravoLock, "read_lock", nothing)
    monkeypatch.setattr(BravoLock, "read_unlock", nothing)
    with pytest.raises(AssertionError, match="both hold pages from"):
        test_do_transactions_on_overlapping_ranges_exclude_each_other("rw")


# -- addresses -----------------------------------------------------------------------------------------


@BOTH
def test_does_each_cpu_allocate_from_its_own_slice(kind: str) -> None:
    process = Process(kind, cpus=4)
    span = (LAST_PAGE - FIRST_PAGE) // 4
    for cpu in range(4):
        begin = FIRST_PAGE + cpu * span
        assert process.do(("mmap", 10), ("mmap", 5), cpu=cpu) == [begin, begin + 10]
    assert process.do(("munmap", FIRST_PAGE, 15), ("mmap", 1)) == [None, FIRST_PAGE + 15]  # never used again


@BOTH
def test_does_a_fixed_mapping_push_the_pointer_of_the_slice_it_lies_in(kind: str) -> None:
    process = Process(kind, cpus=2)
    second = FIRST_PAGE + (LAST_PAGE - FIRST_PAGE) // 2
    process.do(("mmap", 7, BASE), cpu=1)
    assert process.do(("mmap", 1)) == [BASE + 7]
    assert process.do(("mmap", 1), cpu=1) == [second]
    process.do(("mmap", 7, BASE - 100), cpu=1)  # below the pointer: it stays
    assert process.do(("mmap", 1)) == [BASE + 8]


@BOTH
def test_do_all_cpus_share_one_pointer_without_slices(kind: str) -> None:
    process = Process(kind, changes={"va_allocator": "global"})
    assert process.do(("mmap", 10), cpu=1) == [FIRST_PAGE]
    assert process.do(("mmap", 10), ("mmap", 1, BASE), ("mmap", 2)) == [FIRST_PAGE + 10, BASE, BASE + 1]


# -- frames --------------------------------------------------------------------------------------------


@BOTH
def test_does_a_frame_stay_pinned_until_all_others_have_swept(kind: str) -> None:
    process = Process(kind, changes={"limits": {"latr_slots": 1}})
    kernel: Any = process.kernel
    process.do(("mmap", 9, BASE), ("touch", BASE), ("touch", BASE + 1))
    process.do(("touch", BASE), cpu=1)
    frame = process.space.root.walk(BASE).frame
    process.do(("munmap", BASE, 1))
    assert process.translators(BASE) == [process.cpus[1]]
    assert frame in kernel.frames.in_use
    process.run({0: partial(_work, 100 * US), 1: partial(_work, 100 * US)})
    process.do(("munmap", BASE + 1, 1))  # wants the record
    assert process.translators(BASE) == []
    assert frame not in kernel.frames.in_use
    process.end()


def _work(length: int, cpu: Cpu) -> Steps[None]:
    cpu.work(length, Activity("user"))
    yield cpu.take_pending()


@BOTH
def test_do_cpus_take_what_is_left_of_the_global_frames(kind: str) -> None:
    """2 GiB of frames: the first cpu takes a chunk of 488 blocks, the others shares of the 24 left."""
    process = Process(kind, cpus=4, changes={"limits": {"frame_chunk": 500_000}})
    frames: Any = process.kernel.frames  # type: ignore[attr-defined]
    for cpu, blocks in enumerate((488, 3, 2, 2)):  # an eighth of 24, of 21, of 19
        process.do(("mmap", 9, BASE + cpu * LEAF), ("touch", BASE + cpu * LEAF), cpu=cpu)
        held = frames._buddies[cpu][0].free_frames + frames._limits.frame_refill
        assert -(-held >> MAX_ORDER) == blocks


@BOTH
def test_does_a_cpu_without_frames_say_who_keeps_the_rest(kind: str) -> None:
    process = Process(kind, machine={"memory": {"size_per_socket": "4 MiB"}})
    process.do(("mmap", 9, BASE), ("touch", BASE), cpu=0)
    process.do(("mmap", 9, BASE + LEAF), ("touch", BASE + LEAF), cpu=1)
    frames: Any = process.kernel.frames  # type: ignore[attr-defined]
    operations = [
        ("mmap", 1024, BASE + 2 * LEAF),
        *(("touch", BASE + 2 * LEAF + page) for page in range(1024)),
    ]
    with pytest.raises(
        OutOfMemory, match="cpu 1 asked for 4 KiB, but the machine has 0 B of 8 MiB left"
    ) as it:
        process.do(*operations, cpu=1)
    assert f"(other cpus keep {size_of(2048 - len(frames.in_use))} for themselves)" in str(it.value)


@BOTH
def test_does_a_cache_refill_from_its_buddy_and_overflow_into_it(kind: str) -> None:
    process = Process(kind)
    frames: Any = process.kernel.frames  # type: ignore[attr-defined]
    sizes: list[tuple[int, int]] = []

    def size() -> tuple[int, int]:
        return len(frames._caches[0][0]), frames._buddies[0][0].free_frames

    def body(cpu: Cpu) -> Steps[None]:
        taken = []
        for count in range(20):
            taken.append((yield from frames.allocate(cpu)))
            if count in (0, 8):
                sizes.append(size())
        for frame in taken:
            frames.free(cpu, frame)
        sizes.append(size())

    process.run({0: body})
    chunk = 1 << MAX_ORDER
    assert sizes[:2] == [(7, chunk - 8), (7, chunk - 16)]
    assert sum(sizes[2]) == chunk
    assert sizes[2][0] <= 12


# -- several threads -----------------------------------------------------------------------------------

ranges = st.tuples(
    st.sampled_from([-LEAF - 1, -LEAF, -1, 0, 3, LEAF]), st.sampled_from([1, 2, LEAF, LEAF + 1, 2 * LEAF])
)
operation = st.tuples(st.sampled_from(["mmap", "munmap"]), ranges)


@BOTH
@given(
    st.lists(st.lists(operation, max_size=4), min_size=2, max_size=4), st.sampled_from(["fifo", "shuffle"])
)
def test_do_overlapping_changes_take_effect_in_the_order_of_their_commits(
    kind: str, plans: list[list[tuple[str, tuple[int, int]]]], ties: Any
) -> None:
    process = Process(kind, cpus=len(plans), ties=ties)
    space = process.space
    oracle: set[int] = set()
    doing: dict[Cpu, str] = {}
    unlock = space.protocol.unlock

    def committing(cursor: Cursor) -> Steps[None]:
        change = oracle.update if doing[cursor.cpu] == "mmap" else oracle.difference_update
        change(range(cursor.start, cursor.end))
        yield from unlock(cursor)

    def body(cpu: Cpu) -> Steps[None]:
        for name, (start, pages) in plans[cpu.id]:
            doing[cpu] = name
            if name == "mmap":
                yield from space.perform(cpu, Mmap(pages, BASE + start))
            else:
                yield from space.perform(cpu, Munmap(BASE + start, pages))

    space.protocol.unlock = committing
    process.run(dict.fromkeys(range(len(plans)), body))
    universe = range(BASE - 2 * LEAF, BASE + 4 * LEAF)
    assert {page for page in universe if process.is_mapped(page)} == oracle
    process.end()
