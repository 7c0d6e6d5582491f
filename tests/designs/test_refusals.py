"""Is what a kernel refuses refused, with its own error, nothing changed and nobody left locked?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, KINDS, LEAF, Process

from sim.designs.linux.addresses import LEGACY_BASE
from sim.mm import (
    NOTHING,
    READ,
    READ_WRITE,
    USER_PAGES,
    Errno,
    Mmap,
    Munmap,
    OutOfMemory,
    SegmentationFault,
)

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

TINY = {"memory": {"size_per_socket": "8 MiB"}}
"""Too small for the mappings of these tests."""


def rights(process: Process, start: int, end: int) -> list[int | None]:
    return [process.space.status(BASE + page) for page in range(start, end)]


@EVERY_KIND
@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (("mmap", 0), Errno.EINVAL),
        (("mmap", -1, BASE), Errno.EINVAL),
        (("mmap", 2, USER_PAGES - 1), Errno.ENOMEM),
        (("munmap", BASE, 0), Errno.EINVAL),
        (("munmap", USER_PAGES - 1, 2), Errno.EINVAL),
        (("mprotect", USER_PAGES - 1, 2, READ), Errno.ENOMEM),
        (("mprotect", BASE, 0, READ), None),
        (("mmap", 4, BASE + 3, READ_WRITE, False), Errno.EEXIST),
        (("mmap", 4, BASE - 3, READ_WRITE, False), Errno.EEXIST),
        (("mmap", 2 * LEAF, BASE - LEAF, READ_WRITE, False), Errno.EEXIST),
    ],
)
def test_what_is_refused(kind: str, operation: tuple[Any, ...], error: Errno | None) -> None:
    process = Process(kind)
    process.do(("mmap", 4, BASE), ("touch", BASE + 1))
    assert process.do(operation) == [error]
    assert rights(process, -3, 7) == [None] * 3 + [READ_WRITE] * 4 + [None] * 3
    assert process.is_present(BASE + 1)
    process.do(("mmap", 1, BASE + 9), cpu=1)  # nobody has left a lock locked
    process.end()


@EVERY_KIND
def test_is_free_memory_mapped_where_nothing_is_to_be_replaced(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", 4, BASE))
    assert process.do(("mmap", 4, BASE + 4, READ, False)) == [BASE + 4]
    assert rights(process, 0, 9) == [READ_WRITE] * 4 + [READ] * 4 + [None]
    process.end()


@EVERY_KIND
@pytest.mark.parametrize(
    ("page", "write"), [(9, True), (9, False), (1, True), (5, False)], ids=["none", "none", "read", "no"]
)
def test_is_a_forbidden_access_a_signal_that_leaves_no_lock_and_no_frame(
    kind: str, page: int, write: bool
) -> None:
    """The thread that gets it goes on, as one with a handler does, and others too."""
    process = Process(kind)
    process.do(("mmap", 4, BASE, READ), ("mmap", 4, BASE + 4, NOTHING))

    def body(cpu: Any) -> Any:
        with pytest.raises(SegmentationFault, match=f"{BASE + page:#x}"):
            yield from process.space.access(cpu, BASE + page, write=write)
        yield from process.space.perform(cpu, Mmap(1, BASE + 1))
        yield from process.space.access(cpu, BASE + 1)

    process.run({0: body})
    process.do(("munmap", BASE, 9), cpu=1)
    process.end()


@EVERY_KIND
def test_does_populate_leave_nothing_to_fault_in(kind: str) -> None:
    process = Process(kind)
    process.do(("mmap", LEAF + 9, BASE, READ_WRITE, True, True))
    assert all(process.is_present(BASE + page) for page in range(LEAF + 9))
    assert process.do(("mmap", 3, BASE + 2 * LEAF, NOTHING, True, True)) == [BASE + 2 * LEAF]
    assert not process.is_present(BASE + 2 * LEAF)
    process.do(("munmap", BASE, 3 * LEAF))
    process.end()


def test_does_linux_refuse_more_memory_than_there_is() -> None:
    process = Process("linux", machine=TINY)
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    assert process.do(("mmap", pages + 1), ("mmap", pages)) == [Errno.ENOMEM, pytest.approx(2**35, abs=2**20)]


def test_is_a_fault_without_memory_a_failed_operation_and_no_leak() -> None:
    """The thread has mapped as much as there is, which is more than is left of it."""
    process = Process("linux", machine=TINY)
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    touched = 0

    def body(cpu: Any) -> Any:
        nonlocal touched
        yield from process.space.perform(cpu, Mmap(pages, BASE))
        try:
            for page in range(pages):
                yield from process.space.access(cpu, BASE + page)
                touched += 1
        except OutOfMemory:
            pass
        yield from process.space.perform(cpu, Munmap(BASE, pages))
        yield from process.space.perform(cpu, Mmap(1, BASE))
        yield from process.space.access(cpu, BASE)

    process.run({0: body})
    assert pages - 200 < touched < pages
    process.end()


def test_does_a_populate_that_runs_out_of_memory_succeed() -> None:
    """mm_populate tells nobody (mm/util.c vm_mmap_pgoff, 6.13)."""
    process = Process("linux", machine=TINY)
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    assert process.do(("mmap", pages, BASE, READ_WRITE, True, True)) == [BASE]
    assert process.is_present(BASE)
    assert not process.is_present(BASE + pages - 1)
    process.do(("munmap", BASE, pages))
    process.end()


# -- too many VMAs --------------------------------------------------------------------------------------

FEW = {"limits": {"max_map_count": 5}}


def striped(process: Process) -> None:
    """Five VMAs: every other page of nine may only be read."""
    process.do(("mmap", 9, BASE), ("mprotect", BASE + 2, 1, READ), ("mprotect", BASE + 6, 1, READ))
    assert len(list(process.space.tree)) == 5


def test_may_a_process_have_only_so_many_vmas() -> None:
    process = Process("linux", changes=FEW)
    striped(process)
    assert process.do(
        ("munmap", BASE + 4, 1),  # a hole inside one
        ("mprotect", BASE + 4, 1, READ),
        ("munmap", BASE + 3, 1),  # the edge of one
        ("mmap", 1, BASE + 100),  # one more than the limit, as the kernel counts
        ("mmap", 1, BASE + 200),
        ("munmap", BASE + 6, 1),
        ("munmap", BASE + 2, 1),
        ("mmap", 1, BASE + 200),
    ) == [Errno.ENOMEM, Errno.ENOMEM, None, BASE + 100, Errno.ENOMEM, None, None, BASE + 200]
    process.end()


def test_what_is_split_before_the_limit_stays_split() -> None:
    """mprotect of the middle of a VMA needs two more; the first is made, the second refused."""
    process = Process("linux", changes={"limits": {"max_map_count": 2}})
    process.do(("mmap", 9, BASE))
    assert process.do(("mprotect", BASE + 3, 3, READ)) == [Errno.ENOMEM]
    assert [(vma.start - BASE, vma.end - BASE) for vma in process.space.tree] == [(0, 3), (3, 9)]
    assert {vma.rights for vma in process.space.tree} == {READ_WRITE}
    process.end()


# -- where the kernel finds room --------------------------------------------------------------------------


def test_is_the_lowest_gap_taken_in_the_legacy_layout() -> None:
    """vm.legacy_va_layout: from a third of user memory on, upwards."""
    process = Process("linux", changes={"switches": {"mmap_layout": "bottom-up", "thp_align": "multiple"}})
    (low,) = process.do(("mmap", 100))
    assert low == LEGACY_BASE
    process.do(("munmap", low + 50, 4), ("munmap", low + 80, 2))
    assert process.do(("mmap", 3), ("mmap", 2), ("mmap", 5), ("mmap", 1)) == [
        low + 50,
        low + 80,
        low + 100,
        low + 53,
    ]
    huge, beside = process.do(("mmap", LEAF), ("mmap", 1))
    assert huge % LEAF == 0
    assert huge > beside == low + 105
    process.end()


def test_is_the_highest_gap_taken_that_is_large_enough() -> None:
    process = Process("linux")
    (low,) = process.do(("mmap", 100))
    top = low + 100
    process.do(("munmap", low + 50, 4), ("munmap", low + 80, 2))
    assert process.do(("mmap", 3), ("mmap", 2), ("mmap", 5), ("mmap", 1), ("mmap", 1)) == [
        low + 51,
        low + 80,
        low - 5,
        low + 50,
        low - 6,
    ]
    process.do(("munmap", top - 1, 1), ("mmap", 8, top + 8))  # a fixed mapping above the area
    assert process.do(("mmap", 2), ("mmap", 1)) == [low - 8, top - 1]
    process.end()
