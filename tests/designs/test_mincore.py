"""What do mincore and msync say, and under which lock?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ, USER_PAGES, CreateFile, Errno, Mincore, MmapFile, Msync, Munmap
from sim.quantities import PAGE_BYTES


def mapped(pages: int, *touched: int, **options: Any) -> Process:
    process = Process("linux", **options)
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in touched))
    return process


def test_which_pages_are_there() -> None:
    """A page of zeros is one, and a page without a table is not."""
    process = mapped(2 * LEAF, 1, LEAF - 1)
    process.run({0: lambda cpu: process.space.access(cpu, BASE + 3, write=False)})
    (found,) = process.do(("mincore", BASE, 2 * LEAF))
    assert [page for page, there in enumerate(found) if there] == [1, 3, LEAF - 1]
    assert len(found) == 2 * LEAF
    assert process.do(("mincore", BASE, 0), ("mincore", BASE + 1, 1)) == [[], [True]]
    process.end()


def test_is_a_page_of_a_file_there_that_nobody_has_mapped() -> None:
    held = Held()
    process = Process("linux", listeners=(held,))
    space, kernel = process.space, process.kernel
    found: list[object] = []

    def body(cpu: Cpu) -> Steps[None]:
        file = yield from kernel.perform(cpu, CreateFile("test", 600))
        yield from space.perform(cpu, MmapFile(file, 600, shared=True, at=BASE))
        yield from space.access(cpu, BASE + 7)
        yield from space.perform(cpu, MmapFile(file, 20, shared=True, at=BASE + 3 * LEAF))
        found.append((yield from space.perform(cpu, Mincore(BASE + 3 * LEAF, 20))))
        found.append((yield from space.perform(cpu, Mincore(BASE + 5, 4))))
        held.heard()
        found.append((yield from space.perform(cpu, Msync(BASE, 3 * LEAF + 20))))
        found.append((yield from space.perform(cpu, Msync(BASE, 3 * LEAF + 20, wait=False))))

    process.run({0: body})
    assert found == [
        [page == 7 for page in range(20)],
        [False, False, True, False],
        Errno.ENOMEM,
        Errno.ENOMEM,
    ]
    assert held.heard() == ["read", "release"] * 3  # who waits does so without the lock, and takes it again
    process.do(("munmap", BASE, 4 * LEAF))
    process.end()


def test_does_it_read_lock_once_for_each_vma_and_each_page_of_answers() -> None:
    held = Held()
    process = mapped(PAGE_BYTES + 9, 0, listeners=(held,))
    process.do(("mprotect", BASE, 4, READ))
    held.heard()
    (found,) = process.do(("mincore", BASE, PAGE_BYTES + 9))
    assert len(found) == PAGE_BYTES + 9
    assert held.heard() == ["read", "release"] * 3
    process.end()


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (("mincore", BASE, 5), Errno.ENOMEM),
        (("mincore", BASE - 1, 2), Errno.ENOMEM),
        (("mincore", USER_PAGES, 1), Errno.ENOMEM),
        (("mincore", BASE, -1), Errno.ENOMEM),
        (("msync", BASE, 5), Errno.ENOMEM),
        (("msync", BASE - 1, 9), Errno.ENOMEM),
        (("msync", BASE + 6, 1), Errno.ENOMEM),
        (("msync", BASE, -1), Errno.ENOMEM),
        (("msync", BASE, 4, True, True), Errno.EBUSY),
        (("msync", BASE - 1, 9, False, True), Errno.EBUSY),
        (("msync", BASE - 1, 9, False, False), Errno.ENOMEM),
        (("msync", BASE, 4), None),
        (("msync", BASE, 0), None),
        (("msync", BASE, 4, False), None),
    ],
)
def test_what_is_refused(asked: tuple[Any, ...], error: Errno | None) -> None:
    held = Held()
    process = mapped(4, 1, listeners=(held,))
    process.do(("mlock", BASE + 2, 1), ("mmap", 1, BASE + 8))
    held.heard()
    assert process.do(asked) == [error]
    assert set(held.heard()) <= {"read", "release"}
    process.do(("mmap", 1, BASE + 9), cpu=1)  # nobody has left a lock locked
    process.end()


def test_is_there_a_page_for_the_answers() -> None:
    process = Process("linux", machine={"memory": {"size_per_socket": "8 MiB"}})
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    values = process.do(("mmap", pages, BASE), ("mlock", BASE, pages), ("mincore", BASE, 1))
    assert values == [BASE, Errno.EAGAIN, Errno.EAGAIN]
    process.do(("munmap", BASE, pages))
    process.end()


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(pages=st.lists(st.integers(0, 60), max_size=8))
@pytest.mark.ci
def test_do_they_look_beside_faults_and_unmapping(ties: str, pages: list[int]) -> None:
    """What was touched before and is not unmapped is there whenever somebody looks."""
    process = mapped(64, *range(0, 64, 2), cpus=3, ties=ties)

    def looks(cpu: Cpu) -> Steps[None]:
        for page in pages:
            found = yield from process.space.perform(cpu, Mincore(BASE, 30))
            assert all(found[::2])
            value = yield from process.space.perform(cpu, Msync(BASE + page, 3))
            assert value in (None, Errno.ENOMEM)

    def unmaps(cpu: Cpu) -> Steps[None]:
        for page in pages:
            if page >= 30:
                yield from process.space.perform(cpu, Munmap(BASE + page, 2))

    def faults(cpu: Cpu) -> Steps[None]:
        for page in range(1, 30, 2):
            yield from process.space.access(cpu, BASE + page)

    process.run({0: looks, 1: unmaps, 2: faults})
    process.end()
