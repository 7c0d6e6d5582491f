"""Does locked memory stay, in VMAs of its own, and is it counted and let go?"""

from __future__ import annotations

from typing import Any

import pytest
from held import Held
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process

from sim.designs.linux.lruvec import LOCK_LRU
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import (
    NOTHING,
    READ,
    READ_WRITE,
    ZERO_FRAME,
    CreateFile,
    Errno,
    Ftruncate,
    Mlock,
    Mmap,
    MmapFile,
    Munlock,
    Munmap,
)


def vmas(process: Process) -> list[tuple[int, int, bool]]:
    return [(vma.start - BASE, vma.end - BASE, vma.locked) for vma in process.space.tree]


def mapped(pages: int, *touched: int, **options: Any) -> Process:
    process = Process("linux", **options)
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in touched))
    return process


def test_is_locked_memory_brought_in_and_cut_out_of_its_vma() -> None:
    process = mapped(9, 4)
    assert process.do(("mlock", BASE + 3, 3)) == [None]
    assert vmas(process) == [(0, 3, False), (3, 6, True), (6, 9, False)]
    assert [process.is_present(BASE + page) for page in range(9)] == [3 <= page < 6 for page in range(9)]
    assert process.space.stat.locked_vm == 3
    assert process.do(("mlock", BASE + 6, 3), ("munlock", BASE + 3, 1)) == [None, None]
    assert vmas(process) == [(0, 4, False), (4, 9, True)]
    assert process.do(("munlock", BASE, 9)) == [None]
    assert vmas(process) == [(0, 9, False)]
    assert process.space.stat.locked_vm == 0
    process.end()


def test_which_locks_does_it_hold_and_does_it_flush() -> None:
    held = Held()
    process = mapped(9, 4, listeners=(held,))
    held.heard()
    process.do(("mlock", BASE, 9))
    assert held.heard() == ["write", "release", "read", "release"]
    process.do(("munlock", BASE, 9))
    assert held.heard() == ["write", "release"]
    process.do(("mlock", BASE, 4, True))
    assert held.heard() == ["write", "release", "read", "release"]


def test_is_memory_locked_on_fault_brought_in_by_its_users_only() -> None:
    process = mapped(9, 4)
    process.do(("mlock", BASE, 9, True), ("touch", BASE + 5))
    assert [page - BASE for page, _ in process.space.root.present_entries()] == [4, 5]
    assert vmas(process) == [(0, 9, True)]
    process.do(("mlock", BASE + 2, 3))  # not on fault any more: another kind of VMA
    assert vmas(process) == [(0, 2, True), (2, 5, True), (5, 9, True)]
    assert [page - BASE for page, _ in process.space.root.present_entries()] == [2, 3, 4, 5]
    assert process.space.stat.locked_vm == 9
    process.end()


def test_is_locked_memory_that_is_only_read_the_page_of_zeros() -> None:
    process = Process("linux")
    process.do(("mmap", 2, BASE, READ), ("mlock", BASE, 2))
    assert [entry.frame for _, entry in process.space.root.present_entries()] == [ZERO_FRAME] * 2
    process.end()


def test_does_a_hole_end_it_and_stay_what_is_before_it_locked() -> None:
    process = mapped(4)
    process.do(("mmap", 4, BASE + 6))
    assert process.do(("mlock", BASE + 1, 9)) == [Errno.ENOMEM]
    assert vmas(process) == [(0, 1, False), (1, 4, True), (6, 10, False)]
    assert not process.is_present(BASE + 1)  # what is refused is not brought in
    assert process.do(("munlock", BASE, 9), ("mlock", BASE + 4, 1)) == [Errno.ENOMEM] * 2
    assert vmas(process) == [(0, 4, False), (6, 10, False)]
    process.do(("mmap", 1, BASE + 99), cpu=1)
    process.end()


@pytest.mark.parametrize(
    ("asked", "error"),
    [(("mlock", BASE, 0), None), (("munlock", BASE, 0), None), (("mlock", BASE, -1), Errno.EINVAL)],
)
def test_what_is_nothing_to_lock(asked: tuple[Any, ...], error: Errno | None) -> None:
    process = mapped(4)
    assert process.do(asked) == [error]
    assert vmas(process) == [(0, 4, False)]
    process.end()


def test_is_memory_that_nobody_may_touch_locked_and_refused() -> None:
    process = Process("linux")
    process.do(("mmap", 4, BASE, NOTHING))
    assert process.do(("mlock", BASE, 4)) == [Errno.ENOMEM]
    assert vmas(process) == [(0, 4, True)]
    process.end()


def test_is_a_lack_of_memory_told() -> None:
    process = Process("linux", machine={"memory": {"size_per_socket": "8 MiB"}})
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    assert process.do(("mmap", pages, BASE), ("mlock", BASE, pages)) == [BASE, Errno.EAGAIN]
    assert vmas(process) == [(0, pages, True)]
    process.do(("munmap", BASE, pages))
    process.end()


def test_may_locked_memory_be_unmapped_but_not_given_back() -> None:
    process = mapped(9)
    process.do(("mlock", BASE + 3, 3))
    assert process.do(("discard", BASE, 9)) == [Errno.EINVAL]
    assert process.is_present(BASE + 4)
    process.do(("munmap", BASE + 4, 5))
    assert vmas(process) == [(0, 3, False), (3, 4, True)]
    assert process.space.stat.locked_vm == 1
    process.end()


def test_does_locked_memory_that_moves_and_grows_stay_locked() -> None:
    process = mapped(4)
    process.do(("mlock", BASE, 4), ("mremap", BASE, 4, 6))
    assert process.is_present(BASE + 5)
    (start,) = process.do(("mremap", BASE, 6, 2, True, BASE + LEAF))
    process.do(("mmap", 1, start + 2))
    (again,) = process.do(("mremap", start, 2, 5))
    assert again != start
    assert all(process.is_present(page) for page in range(again, again + 5))
    assert process.space.stat.locked_vm == 5
    process.end()


def test_is_a_copy_of_a_page_in_locked_memory_locked() -> None:
    process = mapped(4)
    process.run({0: lambda cpu: process.space.access(cpu, BASE, write=False)})
    process.do(("mlock", BASE, 4, True), ("touch", BASE))
    process.do(("munmap", BASE, 4))
    process.end()


def test_is_a_page_in_the_batches_of_two_cpus_freed_when_both_are_empty() -> None:
    """It waits for the LRU on cpu 1 and for its other list on cpu 0."""
    process = mapped(4)
    memory = process.kernel.memory
    assert memory is not None
    process.do(("touch", BASE), cpu=1)
    frame = process.space.root.walk(BASE).frame
    process.do(("mlock", BASE, 1))
    process.do(("munmap", BASE, 1))  # which puts it into the batch of cpu 0
    assert frame in memory.in_use.refcount
    for cpu in range(2):
        process.do(("mmap", 1, BASE + 8 * cpu), ("touch", BASE + 8 * cpu), cpu=cpu)
        process.do(("munmap", BASE + 8 * cpu, 1), cpu=cpu)
    assert frame not in memory.in_use.refcount
    process.end()


class Sections(Probe):
    """How often a lruvec was locked."""

    def __init__(self) -> None:
        self.count = 0

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.count += lock.activity == LOCK_LRU


@pytest.mark.parametrize(
    ("touched", "lazy", "times"), [(0, True, 0), (0, False, 2), (8, False, 2), (6, False, 4)]
)
def test_do_locked_pages_take_the_lock_of_the_lru_a_batch_at_a_time(
    touched: int, lazy: bool, times: int
) -> None:
    """Four pages a batch. A page that is new goes to the right list at once, one that is there changes its
    list, and the two that wait for the LRU are brought there first."""
    sections = Sections()
    process = mapped(8, listeners=(sections,))
    process.do(("mlock", BASE, 1, True), ("munlock", BASE, 1))  # which empties the batch of the boot
    process.do(*(("touch", BASE + page) for page in range(touched)))
    sections.count = 0
    process.do(("mlock", BASE, 8, lazy))
    assert sections.count == times


@pytest.mark.parametrize("shared", [True, False])
def test_do_pages_of_a_locked_file_wait_for_their_list_too(shared: bool) -> None:
    """Brought in by mlock, faulted in where it is locked on fault, unmapped, and cut off their file."""
    process = Process("linux")
    space, kernel = process.space, process.kernel

    def body(cpu: Cpu) -> Steps[None]:
        file = yield from kernel.perform(cpu, CreateFile("test", 24))
        yield from space.perform(cpu, MmapFile(file, 32, shared=shared, at=BASE))
        assert (yield from space.perform(cpu, Mlock(BASE, 9))) is None
        assert (yield from space.perform(cpu, Mlock(BASE + 9, 9, True))) is None
        for page in (9, 11, 12):
            yield from space.access(cpu, BASE + page, write=page == 11)
        assert (yield from space.perform(cpu, Mlock(BASE + 20, 8))) == Errno.ENOMEM  # behind its end
        yield from space.perform(cpu, Munlock(BASE, 4))
        yield from kernel.perform(cpu, Ftruncate(file, 3))
        yield from space.perform(cpu, Munmap(BASE + 1, 2))

    process.run({0: body})
    assert space.stat.locked_vm == 9 + 9 - 4 + 8
    process.do(("munmap", BASE, 32))
    process.end()


plans = st.lists(
    st.lists(st.tuples(st.sampled_from(["lock", "lazy", "unlock", "gone"]), st.integers(0, 40)), max_size=6),
    min_size=2,
    max_size=3,
)


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=plans)
@pytest.mark.ci
def test_do_threads_lock_and_unlock_beside_faults(ties: str, plans: list[list[tuple[str, int]]]) -> None:
    process = Process("linux", cpus=len(plans) + 1, ties=ties)  # type: ignore[arg-type]
    process.do(("mmap", 64, BASE))

    def locks(cpu: Cpu) -> Steps[None]:
        space = process.space
        for name, offset in plans[cpu.id]:
            page = BASE + offset
            if name == "unlock":
                yield from space.perform(cpu, Munlock(page, 9))
            elif name == "gone" and offset > 20:
                yield from space.perform(cpu, Munmap(page + 23, 1))
                yield from space.perform(cpu, Mmap(1, page + 23, READ_WRITE))
            else:
                yield from space.perform(cpu, Mlock(page, 9, name == "lazy"))

    def faults(cpu: Cpu) -> Steps[None]:
        for page in range(BASE, BASE + 44, 3):
            yield from process.space.access(cpu, page)

    process.run({**dict.fromkeys(range(len(plans)), locks), len(plans): faults})
    process.do(("munlock", BASE, 64))
    assert process.space.stat.locked_vm == 0
    assert not any(vma.locked for vma in process.space.tree)
    process.do(("munmap", BASE, 64))
    process.end()
