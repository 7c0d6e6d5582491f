"""Does CortenMM move memory with all that is in it, keep it in memory, and find room without an allocator?"""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from kernels import BASE, GIB, LEAF, entry_of
from machines import NS

from sim.designs.cortenmm.va_alloc import FIRST_PAGE, LAST_PAGE
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    Errno,
    Fork,
    Madvise,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Present,
    Status,
    Touch,
)

BOTH = pytest.mark.parametrize("kind", ["rw", "adv"])
NEW = BASE + 3 * GIB


class Ranges(Probe):
    """What each transaction holds, from `BASE` on, and the flushes in it."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.heard.append((start - BASE, end - BASE))

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.heard.append(f"flush {pages}")

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.heard.append("end")


def entry(files: Files, page: int) -> Any:
    return entry_of(files.space.root, page)


def mapped(kind: str, *listeners: Probe) -> Files:
    """Eight pages from `BASE` on, of which 1 and 4 have been written: numbers 1 and 2."""
    files = Files(kind=kind, listeners=listeners)
    files.do(Mmap(8, BASE))
    files.run(files.write(1), files.write(4))
    return files


@BOTH
def test_does_a_move_lock_one_range_at_a_time_and_flush_before_pages_are_seen_elsewhere(kind: str) -> None:
    ranges = Ranges()
    files = mapped(kind, ranges)
    ranges.heard.clear()
    assert files.do(Mremap(BASE, 8, 8, to=NEW)) == [NEW]
    there = NEW - BASE
    assert ranges.heard == [(0, 8), "flush 2", "end", (there, there + 8), "end", (0, 8), "end"]
    assert files.run(files.read(there + 1), files.read(there + 4), files.read(there)) == [1, 2, 0]
    assert entry(files, BASE + 1) is None
    files.end()


@BOTH
@pytest.mark.parametrize("pages", [5, 12])
def test_may_a_moved_range_be_shorter_or_longer(kind: str, pages: int) -> None:
    files = mapped(kind)
    assert files.do(Mremap(BASE, 8, pages, to=NEW)) == [NEW]
    there = NEW - BASE
    assert files.run(files.read(there + 4), files.write(there + pages - 1)) == [2, 3]
    assert [(each.start, each.end) for each in files.space.mappings()] == [(NEW, NEW + pages)]
    files.end()


@BOTH
def test_does_a_range_grow_in_place_as_long_as_nothing_is_behind_it(kind: str) -> None:
    ranges = Ranges()
    files = mapped(kind, ranges)
    ranges.heard.clear()
    assert files.do(Mremap(BASE, 8, 20)) == [BASE]
    assert ranges.heard == [(0, 20), "end"]
    files.do(Mmap(1, BASE + 25))
    assert files.do(Mremap(BASE, 20, 30, may_move=False)) == [Errno.ENOMEM]
    (new,) = files.do(Mremap(BASE, 20, 30))
    assert files.run(files.read(new - BASE + 4)) == [2]
    assert not files.process.is_mapped(BASE)


@BOTH
def test_is_memory_that_grows_next_to_what_others_are_given_not_given_to_them(kind: str) -> None:
    files = Files(kind=kind)
    (first,) = files.do(Mmap(2))
    assert files.do(Mremap(first, 2, 9, may_move=False)) == [first]
    (second,) = files.do(Mmap(3))
    assert second >= first + 9


def test_does_a_range_shrink_in_one_transaction() -> None:
    ranges = Ranges()
    files = mapped("adv", ranges)
    ranges.heard.clear()
    assert files.do(Mremap(BASE, 8, 3)) == [BASE]
    assert ranges.heard == [(0, 8), "end", "flush 1"]  # a lazy one, as munmap's
    assert files.do(Mremap(BASE, 3, 3), Mremap(BASE + 5, 3, 2)) == [BASE, Errno.EFAULT]


def test_are_marks_moved_at_their_level() -> None:
    """2 MiB that nobody has touched stay one mark."""
    files = Files(kind="adv")
    files.do(Mmap(2 * LEAF, BASE), Touch([BASE + LEAF]), Mremap(BASE, 2 * LEAF, 2 * LEAF, to=NEW))
    (table,) = (each for each in files.space.root.tables() if each.level == 2 and each.base == NEW)
    assert table.get(0) == Status(READ_WRITE)
    assert isinstance(entry(files, NEW + LEAF), Present)


@BOTH
def test_does_a_file_come_along_with_its_place_in_it(kind: str) -> None:
    files = Files(kind=kind)
    file: Any = files.file(20, resident=True)
    files.do(MmapFile(file, 8, offset=4, at=BASE, shared=True))
    files.run(files.write(3))
    files.do(Mremap(BASE + 2, 6, 9, to=NEW))
    assert files.run(files.read(NEW - BASE + 1)) == [1]
    files.run(files.write(NEW - BASE + 8))
    assert entry(files, NEW + 8).frame == file.frames[4 + 2 + 8]
    assert [mapping.at for mapping in files.space.maps.left] == [BASE, NEW]
    files.do(Munmap(BASE, 8))
    assert [mapping.at for mapping in files.space.maps.left] == [NEW]
    files.end()


@BOTH
def test_is_shared_memory_mapped_twice_by_a_range_of_no_pages(kind: str) -> None:
    files = Files(kind=kind)
    files.do(MmapShared(8, BASE), Mmap(1, BASE + LEAF))
    files.run(files.write(5))
    (new,) = files.do(Mremap(BASE + 4, 0, 4))
    assert files.run(files.read(new - BASE + 1), files.read(5)) == [1, 1]
    assert files.do(Mremap(BASE + LEAF, 0, 4)) == [Errno.EINVAL]
    files.end()


@BOTH
def test_is_what_a_range_was_left_mapped_without_its_pages_where_that_is_asked_for(kind: str) -> None:
    files = mapped(kind)
    files.do(Mlock(BASE, 8, on_fault=True))
    assert files.do(Mremap(BASE, 8, 8, to=NEW, keep=True)) == [NEW]
    assert files.run(files.read(4), files.read(NEW - BASE + 4)) == [0, 2]
    assert (files.space.mark(BASE).locked, files.space.mark(NEW).locked) == (False, True)
    (other,) = files.do(Mremap(NEW, 8, 8, keep=True))
    assert other not in (BASE, NEW)
    assert files.do(Mremap(NEW, 8, 9, keep=True)) == [Errno.EINVAL]
    files.end()


def test_is_a_range_of_several_mappings_refused_and_what_is_at_the_new_place_gone_all_the_same() -> None:
    files = mapped("adv")
    files.do(Mprotect(BASE + 6, 2, READ), Mmap(2, NEW))
    assert files.do(Mremap(BASE, 8, 9), Mremap(BASE, 8, 8, to=NEW)) == [Errno.EFAULT, Errno.EFAULT]
    assert not files.process.is_mapped(NEW)
    assert files.run(files.read(4)) == [2]
    assert files.do(Mremap(BASE, 8, 5), Mremap(BASE + 9, 1, 1, to=NEW)) == [BASE, Errno.EFAULT]


@BOTH
def test_does_a_child_have_pages_that_are_on_their_way(kind: str) -> None:
    """Whenever the fork comes: they are at the one place in it or at the other."""
    places = set()
    for delay in range(7_000_000, 12_000_000, 100_000):
        files = mapped(kind)

        def forks(cpu: Cpu, files: Files = files, delay: int = delay) -> Steps[None]:
            cpu.work(delay, Activity("user"))
            child = yield from files.space.perform(cpu, Fork())
            files.process.spaces.append(child)

        def moves(cpu: Cpu, files: Files = files) -> Steps[None]:
            cpu.work(10_000_000, Activity("user"))
            yield from files.space.perform(cpu, Mremap(BASE, 8, 8, to=NEW))

        files.process.run({0: moves, 1: forks})
        child = files.process.spaces[-1]
        (found,) = [place for place in (BASE, NEW) if child.status(place) is not None]
        assert files.contents.of[child.root.walk(found + 4).frame] == 2
        assert child.status(found) == READ_WRITE
        places.add(found)
    assert places == {BASE, NEW}


# -- locked memory ----------------------------------------------------------------------------------------


@BOTH
def test_is_locked_memory_brought_in_and_kept_until_it_is_unlocked(kind: str) -> None:
    files = Files(kind=kind)
    files.do(Mmap(2 * LEAF, BASE))
    assert files.do(Mlock(BASE + 3, 4)) == [None]
    present = [page - BASE for page, _ in files.space.root.present_entries()]
    assert present == [3, 4, 5, 6]
    assert files.do(Madvise(BASE, 9), Msync(BASE, 9, invalidate=True)) == [Errno.EINVAL, Errno.EBUSY]
    assert files.do(Madvise(BASE, 9, "dontneed_locked")) == [None]
    assert not list(files.space.root.present_entries())
    assert files.do(Munlock(BASE, 9), Madvise(BASE, 9)) == [None, None]
    assert files.space.mark(BASE + 3) == Status(READ_WRITE)


def test_is_memory_locked_up_to_a_hole_and_not_in_a_child() -> None:
    files = Files(kind="rw")
    files.do(Mmap(4, BASE), Mmap(4, BASE + 6))
    assert files.do(Mlock(BASE + 2, 8)) == [Errno.ENOMEM]
    assert [files.space.mark(BASE + page).locked for page in (1, 2, 3, 6)] == [False, True, True, False]
    assert files.do(Mlock(BASE + 2, 2)) == [None]

    def step(cpu: Cpu) -> Steps[Any]:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    (child,) = files.run(step)
    assert not child.mark(BASE + 2).locked


def test_is_memory_that_is_locked_on_fault_left_until_then() -> None:
    files = Files(kind="adv")
    files.do(Mmap(4, BASE), Mlock(BASE, 4, on_fault=True))
    assert not list(files.space.root.present_entries())
    files.run(files.write(1))
    assert files.do(Madvise(BASE, 4)) == [Errno.EINVAL]
    assert files.run(files.read(1)) == [1]
    files.do(Mremap(BASE, 4, 9))
    assert len(list(files.space.root.present_entries())) == 1


def test_is_what_locked_memory_grows_by_brought_in() -> None:
    files = Files(kind="adv")
    files.do(Mmap(4, BASE), Mlock(BASE, 4), Mremap(BASE, 4, 9))
    assert len(list(files.space.root.present_entries())) == 9


# -- without an allocator of addresses (RFC-0003) -----------------------------------------------------------

RFC: dict[str, Any] = {"source": "rfc"}


@BOTH
def test_is_room_looked_for_in_the_cpus_part_of_the_address_space(kind: str) -> None:
    ranges = Ranges()
    files = Files(kind=kind, changes=RFC, listeners=(ranges,))
    part = (LAST_PAGE - FIRST_PAGE) // 2  # for each cpu
    ranges.heard.clear()
    assert files.do(Mmap(4), Mmap(LEAF)) == [FIRST_PAGE, FIRST_PAGE + 4]
    (other,) = files.do(Mmap(4), cpu=1)
    assert other == FIRST_PAGE + part
    locked = [(start + BASE, end - start) for start, end in ranges.heard[::2]]
    assert locked == [(FIRST_PAGE, part), (FIRST_PAGE, part), (FIRST_PAGE + part, part)]
    files.do(Munmap(FIRST_PAGE + 2, 2))
    assert files.do(Mmap(3), Mmap(2)) == [
        FIRST_PAGE + 4 + LEAF,
        FIRST_PAGE + 2,
    ]  # the lowest room that is enough
    files.end()


@BOTH
def test_is_room_looked_for_elsewhere_where_the_part_has_none(kind: str) -> None:
    files = Files(kind=kind, changes=RFC)
    part = (LAST_PAGE - FIRST_PAGE) // 2  # for each cpu
    files.do(Mmap(part - 2, FIRST_PAGE), Mmap(part - 9, FIRST_PAGE + part + 3))
    assert files.do(Mmap(6)) == [FIRST_PAGE + 2 * part - 6]
    assert files.do(Mmap(5)) == [FIRST_PAGE + part - 2]  # in no single part
    assert files.do(Mmap(1)) == [Errno.ENOMEM]


def test_does_a_search_cost_a_look_for_each_piece_that_is_alike() -> None:
    """Not for each page: nothing, 300 pages that may be written, as many that may be read, nothing."""

    def looks(query: str) -> int:
        files = Files(kind="adv", cpus=1, changes={**RFC, "costs": {"query": query}})
        files.do(Mmap(300, FIRST_PAGE + 100), Mmap(300, FIRST_PAGE + 400, READ))
        before = files.process.cpus[0].now
        files.do(Mmap(GIB))
        return files.process.cpus[0].now - before

    # in the first leaf nothing, rw, r; in the second r, nothing; nothing in the tables of level 2 and 3
    assert looks("1010 cycles") - looks("10 cycles") == 7 * 1000 * NS


def test_does_a_thread_that_maps_anywhere_wait_for_one_whose_part_has_the_same_covering_page() -> None:
    """Parts of sixteen slots of the root: all of them have the root itself."""

    def two_together(changes: dict[str, Any]) -> int:
        files = Files(kind="adv", changes={**changes, "costs": {"mark": "5 us"}})

        def maps(cpu: Cpu) -> Steps[None]:
            yield from files.space.perform(cpu, Mmap(4))

        files.process.run({0: maps, 1: maps})
        return max(cpu.now for cpu in files.process.cpus)

    assert two_together(RFC) - two_together({"va_allocator": "per-core"}) > 3 * 5000 * NS
