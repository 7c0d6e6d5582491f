"""Does the heap grow and shrink as Linux's does, and is a break that cannot be refused?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from hypothesis import given
from hypothesis import strategies as st
from kernels import LEAF, Process

from sim.designs.linux.mm import START_BRK as HEAP
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ, Brk, SegmentationFault


def heap(process: Process) -> list[tuple[int, int]]:
    """VMAs relative to where the heap begins."""
    return [(vma.start - HEAP, vma.end - HEAP) for vma in process.space.tree]


def breaks(*pages: int, process: Process | None = None, **options: Any) -> list[int]:
    """What brk returns for these breaks, one after the other, relative to where the heap begins."""
    process = process or Process("linux", **options)
    return [value - HEAP for value in process.do(*(("brk", HEAP + page) for page in pages))]


def test_does_the_heap_grow_as_one_vma_and_shrink_again() -> None:
    process = Process("linux")
    assert breaks(4, 9, 2, process=process) == [4, 9, 2]
    assert heap(process) == [(0, 2)]
    assert breaks(0, process=process) == [0]
    assert heap(process) == []
    process.end()


def test_is_page_0_the_way_to_ask() -> None:
    process = Process("linux")
    assert process.do(("brk", 0), ("brk", HEAP + 3), ("brk", 0)) == [HEAP, HEAP + 3, HEAP + 3]
    assert breaks(-1, process=process) == [3]


def test_is_memory_above_the_break_gone() -> None:
    process = Process("linux")
    breaks(2 * LEAF, process=process)
    process.do(("touch", HEAP), ("touch", HEAP + LEAF), ("touch", HEAP + LEAF + 1))
    breaks(LEAF + 1, process=process)
    assert [page - HEAP for page, _ in process.space.root.present_entries()] == [0, LEAF]
    assert not process.is_mapped(HEAP + LEAF + 1)
    process.end()


def test_which_locks_does_it_hold() -> None:
    """A no-op writes too; a heap that shrinks is unmapped under mmap_lock for reading."""
    held = Held()
    process = Process("linux", listeners=(held,))
    breaks(4, process=process)
    assert held.heard() == ["write", "release"]
    breaks(4, process=process)
    assert held.heard() == ["write", "release"]
    process.do(("touch", HEAP + 3))
    held.heard()
    breaks(1, process=process)
    assert held.heard() == ["write", "downgrade", "flush 1", "release"]


@pytest.mark.parametrize(("above", "to", "value"), [(6, 5, 5), (6, 6, 2), (6, 9, 2), (2, 3, 2)])
def test_does_the_heap_keep_a_page_away_from_what_is_above(above: int, to: int, value: int) -> None:
    process = Process("linux")
    breaks(2, process=process)
    process.do(("mmap", 1, HEAP + above))
    assert breaks(to, process=process) == [value]
    assert process.space.brk == HEAP + value
    process.do(("munmap", HEAP, 20))
    process.end()


def test_is_a_break_beyond_memory_refused() -> None:
    process = Process("linux", machine={"memory": {"size_per_socket": "8 MiB"}})
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    assert breaks(pages + 1, pages, 1 << 36, process=process) == [0, pages, pages]


def test_is_a_heap_refused_where_there_are_too_many_vmas() -> None:
    process = Process("linux", changes={"limits": {"max_map_count": 1}})
    process.do(("mmap", 1, 64), ("mmap", 1, 1 << 20))
    assert breaks(3, process=process) == [0]
    process.do(("munmap", 64, 1))
    assert breaks(3, process=process) == [3]
    process.end()


def test_does_the_break_stay_where_the_heap_cannot_be_cut_out() -> None:
    """What is mapped right above the heap is one VMA with it; without its middle they are two."""
    process = Process("linux", changes={"limits": {"max_map_count": 1}})
    breaks(3, process=process)
    process.do(("mmap", 4, HEAP + 3))
    assert breaks(1, process=process) == [3]
    assert (heap(process), process.space.brk) == ([(0, 7)], HEAP + 3)
    process.end()


def test_does_a_heap_that_was_unmapped_in_part_shrink_and_grow_apart() -> None:
    process = Process("linux")
    breaks(9, process=process)
    process.do(("munmap", HEAP + 3, 6))
    assert breaks(5, process=process) == [9]  # nothing is mapped there: refused
    assert breaks(12, process=process) == [12]
    assert heap(process) == [(0, 3), (9, 12)]
    process.do(("mprotect", HEAP + 9, 3, READ))
    assert breaks(13, process=process) == [13]
    assert heap(process) == [(0, 3), (9, 12), (12, 13)]
    assert [vma.pgoff - HEAP for vma in process.space.tree] == [0, 9, 12]
    process.end()


plans = st.lists(st.lists(st.integers(0, 40), max_size=8), min_size=2, max_size=4)


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=plans)
def test_do_threads_share_one_break(ties: str, plans: list[list[int]]) -> None:
    """All of them set it, and one faults below it: the heap is what the last one said."""
    process = Process("linux", cpus=len(plans) + 1, ties=ties)  # type: ignore[arg-type]
    breaks(1, process=process)
    said = [1]

    def sets(cpu: Cpu) -> Steps[None]:
        for pages in plans[cpu.id]:
            value = yield from process.space.perform(cpu, Brk(HEAP + 1 + pages))
            assert value == HEAP + 1 + pages
            said.append(1 + pages)

    def faults(cpu: Cpu) -> Steps[None]:
        for page in range(20):
            try:
                yield from process.space.access(cpu, HEAP + page)
            except SegmentationFault:
                assert page > 0

    process.run({**dict.fromkeys(range(len(plans)), sets), len(plans): faults})
    end = process.space.brk - HEAP
    assert end in said
    assert heap(process) == [(0, end)]
    process.end()
