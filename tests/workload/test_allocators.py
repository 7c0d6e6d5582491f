"""Do the allocators of user space ask the kernel what the real ones ask?"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sim.mm import Brk, Madvise, Mmap, Mprotect, Munmap, Operation, Touch
from sim.workload.allocator_spec import Jemalloc, Ptmalloc, Tcmalloc, Units
from sim.workload.allocators import Block, Heap, make_heap
from sim.workload.allocators.base import Spans
from sim.workload.allocators.ptmalloc import PtmallocHeap

KIB, MIB = 1 << 10, 1 << 20


class Kernel:
    """A process that remembers what it is asked. mmap goes upwards from page 0x1000, brk from 0x100."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []
        self._next, self._break = 0x1001, 0x100
        self.cpu = SimpleNamespace(now=0)
        self.number = self.index = 0
        self.space = self

    def perform(self, *asked: Any, may_fail: bool = False) -> Iterator[Any]:
        operation = asked[-1]
        if isinstance(operation, Touch):
            return None
        self.asked.append(operation)
        if isinstance(operation, Brk):
            self._break = operation.at or self._break
            return self._break
        if isinstance(operation, Mmap):
            start = self._next if operation.at is None else operation.at
            self._next = max(self._next, start + operation.pages)
            return start
        return None
        yield

    def calls(self) -> list[str]:
        """What was asked since the last time, as `name pages`."""
        asked, self.asked = self.asked, []
        return [f"{each.name} {getattr(each, 'pages', '')}".strip() for each in asked]


class Free:
    """A mutex that nobody else wants."""

    def lock(self, cpu: object) -> Iterator[None]:
        return
        yield

    unlock = lock


def heap(spec: Any) -> Heap:
    return make_heap(spec, lambda name: Free(), 2)


def done(steps: Iterator[Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def malloc(heap: Heap, kernel: Kernel, size: int) -> Block:
    return done(heap.malloc(kernel, size))  # type: ignore[arg-type]


def free(heap: Heap, kernel: Kernel, block: Block) -> None:
    done(heap.free(kernel, block))  # type: ignore[arg-type]


def test_joined_spans_are_one_and_the_best_fit_is_the_shortest() -> None:
    spans = Spans()
    spans.add(0, 100)
    spans.add(200, 260)
    spans.add(100, 120)
    assert spans.starts == {0: 120, 200: 260}
    assert spans.take(50, 16) == (200, 260)
    assert spans.take(50, 16) == (0, 50)
    assert spans.starts == {50: 120}


def test_a_new_arena_is_an_aligned_half_of_128_mib_of_which_33_pages_may_be_written() -> None:
    """arena.c: new_heap. The mapping begins a page behind an aligned address, so both ends are cut off."""
    kernel = Kernel()
    malloc(heap(Ptmalloc(kind="ptmalloc")), kernel, 1000)
    pages = 64 * MIB // 4096
    assert kernel.calls() == [
        "mmap 32768",
        f"munmap {pages - 1 - 0x1000 % pages}",
        f"munmap {0x1001}",
        "mprotect 33",
    ]


def zlib_round(heap: Heap, kernel: Kernel) -> None:
    """What compress() allocates and frees (zlib, deflate.c)."""
    blocks = [malloc(heap, kernel, size) for size in (5952, *[64 * KIB] * 4)]
    for block in reversed(blocks):
        free(heap, kernel, block)


def test_zlib_makes_an_arena_give_back_64_kib_twice_and_a_page_or_two_each_time() -> None:
    """As strace shows it for dedup of PARSEC with glibc 2.36: 65536, 65536, and 4096 or 8192."""
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc"))
    malloc(arena, kernel, 2200)
    zlib_round(arena, kernel)
    kernel.calls()
    for _ in range(3):
        zlib_round(arena, kernel)
        given = kernel.calls()
        assert given[:2] == ["madvise 16", "madvise 16"]
        assert given[2:] in (["madvise 1"], ["madvise 2"])


def test_a_heap_that_breathes_is_made_writable_once() -> None:
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc"))
    for _ in range(3):
        zlib_round(arena, kernel)
    assert (
        sum(call.startswith("mprotect") for call in kernel.calls()) == 4
    )  # the arena, and three times it grew


def test_buffers_that_fit_into_a_hole_ask_nothing() -> None:
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc"))
    hole = [malloc(arena, kernel, 110 * KIB) for _ in range(3)]
    malloc(arena, kernel, 100)
    for block in hole:
        free(arena, kernel, block)
    kernel.calls()
    zlib_round(arena, kernel)
    assert kernel.calls() == []


def test_a_freed_mapping_raises_the_thresholds() -> None:
    """malloc.c: __libc_free. Larger than 32 MiB it does not."""
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc"))
    assert isinstance(arena, PtmallocHeap)
    malloc(arena, kernel, 100)
    kernel.calls()
    free(arena, kernel, malloc(arena, kernel, MIB))
    assert kernel.calls() == ["mmap 257", "munmap 257"]
    assert (arena.mmap_threshold, arena.trim_threshold) == (257 * 4096, 2 * 257 * 4096)
    free(arena, kernel, malloc(arena, kernel, 33 * MIB))
    assert arena.mmap_threshold == 257 * 4096
    malloc(arena, kernel, MIB - 64)
    assert not any(call.startswith("mmap") for call in kernel.calls()[2:])


def test_the_main_arena_grows_and_shrinks_by_brk() -> None:
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc", main_arena=True))
    blocks = [malloc(arena, kernel, 100 * KIB) for _ in range(4)]
    assert {type(each) for each in kernel.asked} == {Brk}
    kernel.calls()
    for block in reversed(blocks):
        free(arena, kernel, block)
    assert {type(each) for each in kernel.asked} == {Brk}
    assert 32 <= kernel._break - 0x100 <= 34  # top_pad stays


def test_an_arena_begins_another_heap_when_64_mib_are_full_and_unmaps_it_when_it_is_empty() -> None:
    kernel, arena = Kernel(), heap(Ptmalloc(kind="ptmalloc"))
    blocks = [malloc(arena, kernel, 100 * KIB) for _ in range(700)]
    assert sum(type(each) is Mmap for each in kernel.asked) == 2
    kernel.calls()
    for block in reversed(blocks):
        free(arena, kernel, block)
    assert f"munmap {64 * MIB // 4096}" in kernel.calls()


def test_tcmalloc_grows_by_a_mebibyte_and_gives_nothing_back() -> None:
    kernel, spans = Kernel(), heap(Tcmalloc(kind="tcmalloc"))
    zlib_round(spans, kernel)
    assert {type(each) for each in kernel.asked} == {Brk}
    kernel.calls()
    for _ in range(10):
        zlib_round(spans, kernel)
    assert kernel.calls() == []


def test_tcmalloc_gives_back_after_two_gibibytes_have_been_freed() -> None:
    kernel, spans = Kernel(), heap(Tcmalloc(kind="tcmalloc"))
    for _ in range(33):
        free(spans, kernel, malloc(spans, kernel, 64 * MIB))
    assert [type(each) for each in kernel.asked].count(Madvise) == 1


def test_jemalloc_gives_back_what_has_been_free_for_ten_seconds() -> None:
    kernel, arena = Kernel(), heap(Jemalloc(kind="jemalloc"))
    zlib_round(arena, kernel)
    assert [type(each) for each in kernel.asked] == [Mmap]
    kernel.calls()
    kernel.cpu.now = 10 * 10**12
    malloc(arena, kernel, 100)
    assert sorted(kernel.calls()) == ["madvise 15", *["madvise 16"] * 3]  # a page is in use again


@pytest.mark.parametrize(("used", "mapped"), [(1.0, 1), (0.5, 2)])
def test_metis_units_are_cut_from_their_end_and_never_given_back(used: float, mapped: int) -> None:
    kernel, units = Kernel(), heap(Units(kind="units", size="64 KiB", used=used))
    blocks = [malloc(units, kernel, 4080) for _ in range(16)]
    assert kernel.calls() == ["mmap 16"] * mapped
    assert blocks[0].start == 0x1001 * 4096 + 60 * KIB + 16
    for block in blocks:
        free(units, kernel, block)
    malloc(units, kernel, 4080)
    assert kernel.calls() == []


def test_sizes_of_metis_blocks_have_units_of_their_own() -> None:
    kernel, units = Kernel(), heap(Units(kind="units", size="64 KiB"))
    malloc(units, kernel, 64)
    malloc(units, kernel, 128)
    assert kernel.calls() == ["mmap 16"] * 2


def test_the_operations_that_an_allocator_needs_are_those_that_it_performs() -> None:
    for spec, asks in (
        (Ptmalloc(kind="ptmalloc"), {Brk, Madvise, Mmap, Mprotect, Munmap, Touch}),
        (Units(kind="units"), {Mmap, Touch}),
    ):
        assert spec.asks == asks
