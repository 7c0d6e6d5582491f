"""Does memory keep its pages when mremap moves it, and what is locked, flushed and refused meanwhile?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, GIB, LEAF, Process, table_of

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    USER_PAGES,
    ZERO_FRAME,
    CreateFile,
    Errno,
    File,
    Madvise,
    Mmap,
    MmapFile,
    MmapShared,
    Mremap,
    OutOfMemory,
    SegmentationFault,
    Touch,
)

NEW = BASE + 8 * GIB


def vmas(process: Process) -> list[tuple[int, int]]:
    return [(vma.start - BASE, vma.end - BASE) for vma in process.space.tree]


def frames(process: Process, start: int, pages: int) -> list[int | None]:
    found = (process.space.root.walk(page) for page in range(start, start + pages))
    return [None if entry is None else entry.frame for entry in found]


def mapped(pages: int, *touched: int, at: int = BASE, **options: Any) -> Process:
    process = Process("linux", **options)
    process.do(("mmap", pages, at), *(("touch", at + page) for page in touched))
    return process


# -- in place ----------------------------------------------------------------------------------------------


def test_does_a_range_shrink_as_munmap_does() -> None:
    held = Held()
    process = mapped(9, 2, 8, listeners=(held,))
    held.heard()
    assert process.do(("mremap", BASE, 9, 4)) == [BASE]
    assert held.heard() == ["write", "downgrade", "flush 1", "release"]
    assert vmas(process) == [(0, 4)]
    assert [page - BASE for page, _ in process.space.root.present_entries()] == [2]
    assert process.do(("mremap", BASE, 4, 4)) == [BASE]
    assert held.heard() == ["write", "release"]
    process.end()


def test_does_a_range_grow_where_nothing_is_behind_it() -> None:
    held = Held()
    process = mapped(4, 1, listeners=(held,))
    held.heard()
    assert process.do(("mremap", BASE, 4, 9, False)) == [BASE]
    assert held.heard() == ["write", "release"]
    assert vmas(process) == [(0, 9)]
    assert process.do(("mremap", BASE + 5, 4, 6, False)) == [BASE + 5]  # the end of the VMA
    assert vmas(process) == [(0, 11)]
    process.end()


def test_does_growth_close_a_gap_between_two() -> None:
    """As one VMA, if neither has pages of its own, and as two, if both have."""
    process = mapped(4)
    process.do(("mmap", 4, BASE + 6))
    assert process.do(("mremap", BASE, 4, 6)) == [BASE]
    assert vmas(process) == [(0, 10)]
    process = mapped(4, 0)
    process.do(("mmap", 4, BASE + 6), ("touch", BASE + 7))
    assert process.do(("mremap", BASE, 4, 6)) == [BASE]
    assert vmas(process) == [(0, 6), (6, 10)]
    process.end()


# -- a move ------------------------------------------------------------------------------------------------


def test_does_what_cannot_grow_move_with_all_its_pages() -> None:
    process = mapped(4, 0, 3)
    process.do(("mmap", 1, BASE + 4))
    process.run({0: lambda cpu: process.space.access(cpu, BASE + 2, write=False)})
    anon_vma = process.space.tree.peek(BASE).anon_vma
    before = frames(process, BASE, 4)
    assert before[2] == ZERO_FRAME
    (start,) = process.do(("mremap", BASE, 4, 9))
    vma = process.space.tree.peek(start)
    assert (vma.start, vma.end, vma.pgoff, vma.anon_vma) == (start, start + 9, BASE, anon_vma)
    assert frames(process, start, 9) == [*before, None, None, None, None, None]
    assert not any(process.is_mapped(BASE + page) for page in range(4))
    assert frames(process, BASE, 4) == [None] * 4
    process.do(("touch", start + 8), ("touch", start + 2), cpu=1)
    process.do(("munmap", start, 9))
    process.end()


def test_is_untouched_memory_moved_as_if_it_were_mapped_there() -> None:
    """It takes the offset of its new place, so it merges with what is there, even with itself."""
    process = mapped(4)
    process.do(("mmap", 2, NEW + 4))
    assert process.do(("mremap", BASE, 4, 4, True, NEW)) == [NEW]
    assert [(vma.start - NEW, vma.end - NEW, vma.pgoff - NEW) for vma in process.space.tree] == [(0, 6, 0)]
    assert process.do(("mremap", NEW, 6, 6, True, NEW + 6)) == [NEW + 6]
    assert [(vma.start - NEW, vma.end - NEW, vma.pgoff - NEW) for vma in process.space.tree] == [(6, 12, 6)]
    process.end()


def test_does_a_part_move_out_of_its_vma_and_back() -> None:
    """Back at its old offset it is one VMA again."""
    process = mapped(9, *range(9))
    before = frames(process, BASE, 9)
    assert process.do(("mremap", BASE + 3, 3, 3, True, NEW)) == [NEW]
    assert vmas(process)[:2] == [(0, 3), (6, 9)]
    assert process.space.tree.peek(NEW).pgoff == BASE + 3
    assert process.do(("mremap", NEW, 3, 3, True, BASE + 3), cpu=1) == [BASE + 3]
    assert vmas(process) == [(0, 9)]
    assert frames(process, BASE, 9) == before
    process.end()


def test_is_what_lies_at_the_new_place_replaced_and_the_rest_cut_off() -> None:
    process = mapped(9, 1, 7)
    process.do(("mmap", 6, NEW), ("touch", NEW + 1), ("touch", NEW + 5), ("mprotect", NEW, 6, READ))
    kept = frames(process, NEW + 5, 1)
    assert process.do(("mremap", BASE, 9, 4, True, NEW)) == [NEW]
    assert [(vma.start - NEW, vma.end - NEW) for vma in process.space.tree] == [(0, 4), (4, 6)]
    assert frames(process, NEW + 5, 1) == kept
    assert process.space.stat.anon_pages == 2
    process.do(("touch", NEW))
    process.end()


# -- tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "pages", "flushes", "moves"),
    [
        (0, 0, LEAF, [LEAF], True),  # both at a multiple of 2 MiB
        (0, 0, 2 * LEAF + 5, [LEAF, LEAF, 5], True),
        (0, 1, LEAF, [LEAF - 1, 1], False),  # the new range reaches into a second table
        (5, 5, LEAF, [LEAF, 5], True),  # nothing lies below either: begun there
        (5, 9, LEAF, [LEAF - 9, 4, 5], False),
        (0, 0, 100, [100], False),
    ],
)
def test_in_which_parts_does_memory_move(
    old: int, new: int, pages: int, flushes: list[int], moves: bool
) -> None:
    """A flush for each part, with mmap_lock held for writing from beginning to end."""
    held = Held()
    touched = range(0, pages, 3) if pages > 6 else range(pages)
    process = mapped(pages, *touched, pages - 1, at=BASE + old, listeners=(held,))
    before, table = frames(process, BASE + old, pages), table_of(process.space.root, BASE + old, 1)
    held.heard()
    assert process.do(("mremap", BASE + old, pages, pages, True, NEW + new)) == [NEW + new]
    moved, unmapping = held.heard(), 1  # the tables of the old range are freed
    assert moved[0] == "write"
    assert moved[1 : 1 + len(flushes)] == [f"flush {count}" for count in flushes]
    assert moved[1 + len(flushes) + unmapping :] == ["release"]
    assert frames(process, NEW + new, pages) == before
    assert (table_of(process.space.root, NEW + new, 1) is table) == moves
    assert table_of(process.space.root, BASE + old, 1) is None
    process.do(("touch", NEW + new + pages - 1), cpu=1)
    process.do(("munmap", NEW + new, pages))
    process.end()


def test_does_a_gigabyte_move_with_one_entry() -> None:
    held = Held()
    process = mapped(GIB, 3, GIB - 1, listeners=(held,))
    before = frames(process, BASE, 4)
    held.heard()
    process.do(("mremap", BASE, GIB, GIB, True, NEW))
    assert held.heard()[:2] == ["write", f"flush {GIB}"]
    assert frames(process, NEW, 4) == before
    assert table_of(process.space.root, NEW, 2) is not None
    process.do(("munmap", NEW + 1, GIB - 1))
    process.end()


def test_can_nobody_use_the_old_address_when_the_call_returns() -> None:
    process = mapped(4, 0, cpus=3)
    for cpu in range(3):
        process.do(("touch", BASE), cpu=cpu)
    assert len(process.translators(BASE)) == 3
    found: list[int] = []

    def moves(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Mremap(BASE, 4, 4, True, NEW))
        found.append(len(process.translators(BASE)))

    def spins(cpu: Cpu) -> Steps[None]:
        cpu.work(200_000_000, Activity("user"))
        yield cpu.take_pending()

    process.run({0: moves, 1: spins, 2: spins})
    assert found == [0]


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ((BASE, 4, 0), Errno.EINVAL),
        ((BASE, 0, 4), Errno.EINVAL),  # private memory is not duplicated
        ((BASE, 0, 4, True, NEW), Errno.EINVAL),
        ((BASE, 4, 4, False, NEW), Errno.EINVAL),
        ((BASE, 4, 4, True, BASE + 2), Errno.EINVAL),
        ((BASE + 2, 2, 4, True, BASE), Errno.EINVAL),
        ((BASE, 4, 4, True, USER_PAGES - 2), Errno.EINVAL),
        ((BASE - 1, 2, 4), Errno.EFAULT),
        ((BASE + 2, 9, 12), Errno.EFAULT),
        ((BASE + 2, 9, 12, True, NEW), Errno.EFAULT),
        ((BASE, 4, 9, False), Errno.ENOMEM),  # something is behind it
        ((BASE, 2, 3, False), Errno.ENOMEM),  # the rest of its own VMA
        ((BASE, 4, 1 << 34), Errno.ENOMEM),
        ((BASE, 4, 1 << 36), Errno.ENOMEM),
    ],
)
def test_what_is_refused(asked: tuple[Any, ...], error: Errno) -> None:
    process = mapped(4, 1)
    process.do(("mmap", 1, BASE + 4, READ))
    assert process.do(("mremap", *asked)) == [error]
    assert vmas(process) == [(0, 4), (4, 5)]
    assert process.is_present(BASE + 1)
    process.do(("mmap", 1, BASE + 9), cpu=1)  # nobody has left a lock locked
    process.end()


def test_is_room_for_the_vmas_of_a_cut_asked_for() -> None:
    process = mapped(4, 1, changes={"limits": {"max_map_count": 6}})
    process.do(("mmap", 1, BASE + 4, READ), ("mmap", 1, BASE + 9))
    assert process.do(("mremap", BASE, 4, 9), ("mremap", BASE, 4, 4, True, NEW)) == [Errno.ENOMEM] * 2
    process.do(("munmap", BASE + 9, 1))
    assert process.do(("mremap", BASE, 4, 4, True, NEW)) == [Errno.ENOMEM]  # this one asks for more
    assert isinstance(process.do(("mremap", BASE, 4, 9))[0], int)
    process.end()


def test_do_pages_come_back_where_memory_for_tables_runs_out() -> None:
    """The old mapping is as it was and nothing is left at the new one, however far the move had come."""
    process = Process("linux", machine={"memory": {"size_per_socket": "8 MiB"}})
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE + 1), ("touch", BASE + LEAF))
    before, filler = frames(process, BASE, 2 * LEAF), 1 << 30
    vmas_before = vmas(process)
    values: list[object] = []

    def body(cpu: Cpu) -> Steps[None]:
        space, page, pages = process.space, filler, process.kernel.total_pages  # type: ignore[attr-defined]
        yield from space.perform(cpu, Mmap(pages, filler))
        try:
            for page in range(filler, filler + pages):
                yield from space.access(cpu, page)
        except OutOfMemory:
            pass
        while not values or values[-1] != NEW + 7:
            values.append((yield from space.perform(cpu, Mremap(BASE, 2 * LEAF, 2 * LEAF, True, NEW + 7))))
            if values[-1] == Errno.ENOMEM:
                assert frames(process, BASE, 2 * LEAF) == before
                assert not process.is_mapped(NEW + 7)
            page -= 1
            yield from space.perform(cpu, Madvise(page, 1))  # and once more with a page more

    process.run({0: body})
    assert values.count(Errno.ENOMEM) >= 3
    assert frames(process, NEW + 7, 2 * LEAF) == before
    assert vmas_before[0] not in vmas(process)
    process.end()


# -- files -------------------------------------------------------------------------------------------------


def file_of(process: Process, pages: int) -> File:
    found: list[File] = []

    def body(cpu: Cpu) -> Steps[None]:
        found.append((yield from process.kernel.perform(cpu, CreateFile("test", pages, resident=True))))

    process.run({0: body})
    return found[0]


@pytest.mark.parametrize("shared", [True, False])
def test_does_a_mapping_of_a_file_move_with_its_offset(shared: bool) -> None:
    """Untouched or not, it shows the same part of the file, and the file knows where it is mapped."""
    process = Process("linux")
    file, space = file_of(process, 3 * LEAF), process.space

    def body(cpu: Cpu) -> Steps[None]:
        start = yield from space.perform(cpu, MmapFile(file, 2 * LEAF, 5, shared, BASE, READ))
        assert start == BASE
        yield from space.perform(cpu, Mremap(BASE, 2 * LEAF, 2 * LEAF, True, NEW + LEAF))
        yield from space.access(cpu, NEW + LEAF + 9, write=False)
        before = space.root.walk(NEW + LEAF + 9).frame
        yield from space.perform(cpu, Mremap(NEW + LEAF, 2 * LEAF, 9 + LEAF, True, BASE + 3))
        assert space.root.walk(BASE + 12).frame == before

    process.run({0: body})
    (vma,) = space.tree
    assert (vma.start - BASE, vma.pages, vma.pgoff) == (3, 9 + LEAF, 5)
    process.do(("munmap", BASE, 2 * LEAF))
    process.end()


def test_is_shared_memory_mapped_twice_by_a_range_of_no_length() -> None:
    process = Process("linux")
    space = process.space

    def body(cpu: Cpu) -> Steps[None]:
        at = yield from space.perform(cpu, MmapShared(4))
        yield from space.access(cpu, at + 1)
        again = yield from space.perform(cpu, Mremap(at + 1, 0, 2))
        yield from space.access(cpu, again)
        assert space.root.walk(again).frame == space.root.walk(at + 1).frame
        yield from space.perform(cpu, Mremap(again, 2, 2, True, NEW))

    process.run({0: body})
    assert len(list(space.tree)) == 2
    process.end()


# -- beside others -----------------------------------------------------------------------------------------

plans = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([3, 40, LEAF, LEAF + 9])), max_size=5),
    min_size=2,
    max_size=3,
)


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=plans)
@pytest.mark.ci
def test_do_threads_move_their_memory_beside_faults(ties: str, plans: list[list[tuple[int, int]]]) -> None:
    """Each thread moves a range of its own to and fro and finds its own pages there, while one faults pages
    in that share tables with all of them."""
    process = Process("linux", cpus=len(plans) + 1, ties=ties)  # type: ignore[arg-type]
    shared = BASE + 4 * LEAF - 20
    process.do(("mmap", 40, shared))

    def moves(cpu: Cpu) -> Steps[None]:
        space, at, pages = process.space, BASE + cpu.id * 1200, 30
        yield from space.perform(cpu, Mmap(pages, at))
        yield from space.perform(cpu, Touch(range(at, at + pages, 7)))
        own = frames(process, at, 30)[::7]
        for where, new_pages in plans[cpu.id]:
            to = NEW + cpu.id * GIB + where * 2 * LEAF + (at % LEAF if where % 2 else 0)
            if to + new_pages <= at or at + pages <= to:
                at = yield from space.perform(cpu, Mremap(at, pages, max(new_pages, 30), True, to))
                pages = max(new_pages, 30)
            else:
                at = yield from space.perform(cpu, Mremap(at, pages, max(30, pages - 1)))
                pages = max(30, pages - 1)
            yield from space.access(cpu, at + pages - 1)
            assert frames(process, at, 29)[::7] == own

    def faults(cpu: Cpu) -> Steps[None]:
        for page in range(shared, shared + 40):
            yield from process.space.access(cpu, page)
            try:
                yield from process.space.access(cpu, BASE + 7)
            except SegmentationFault:
                assert not process.is_mapped(BASE + 7)

    process.run({**dict.fromkeys(range(len(plans)), moves), len(plans): faults})
    process.end()
