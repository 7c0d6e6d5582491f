"""What does each advice do to pages and VMAs, under which lock, and what is flushed?"""

from __future__ import annotations

from typing import Any, get_args

import pytest
from held import Held
from hypothesis import given
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process

from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    NOTHING,
    READ,
    WRITE,
    ZERO_FRAME,
    Advice,
    CreateFile,
    Errno,
    Madvise,
    MmapFile,
    Munmap,
    SegmentationFault,
)

ADVICE = get_args(Advice)


def mapped(pages: int, *touched: int, **options: Any) -> Process:
    process = Process("linux", **options)
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in touched))
    return process


def flags(process: Process) -> list[tuple[int, int, VmFlags]]:
    return [
        (vma.start - BASE, vma.end - BASE, vma.area.flags & ~VmFlags.ACCOUNT) for vma in process.space.tree
    ]


@pytest.mark.parametrize(
    ("advice", "events"),
    [
        ("dontneed", ["read", "flush 1", "release"]),
        ("dontneed_locked", ["read", "flush 1", "release"]),
        ("free", ["read", "flush 1", "release"]),
        ("cold", ["read", "flush 1", "release"]),
        ("pageout", ["read", "release"]),  # without swap
        ("populate_read", ["read", "release"]),
        ("populate_write", ["read", "release"]),
        ("hugepage", ["write", "release"]),
        ("nohugepage", ["write", "release"]),
    ],
)
def test_which_lock_does_it_hold_and_what_does_it_flush(advice: Advice, events: list[str]) -> None:
    held = Held()
    process = mapped(9, 4, listeners=(held,))
    held.heard()
    assert process.do(("madvise", BASE, 9, advice)) == [None]
    assert held.heard() == events
    process.end()


@pytest.mark.parametrize("advice", ADVICE)
@pytest.mark.parametrize(("pages", "error"), [(-1, Errno.EINVAL), (0, None)])
def test_is_no_length_nothing_to_do(advice: Advice, pages: int, error: Errno | None) -> None:
    process = mapped(4, 1)
    assert process.do(("madvise", BASE, pages, advice)) == [error]
    assert process.is_present(BASE + 1)
    process.end()


@pytest.mark.parametrize("advice", ADVICE)
def test_is_a_hole_told_and_what_is_behind_it_done(advice: Advice) -> None:
    process = mapped(4, 1)
    process.do(("mmap", 4, BASE + 6), ("touch", BASE + 7))
    frames = [process.space.root.walk(BASE + page).frame for page in (1, 7)]
    assert process.do(("madvise", BASE, 9, advice)) == [Errno.ENOMEM]
    first, second = (process.space.root.walk(BASE + page) for page in (1, 7))
    assert process.is_present(BASE) == advice.startswith("populate")
    if advice.startswith("dontneed"):
        assert (first, second) == (None, None)
    elif advice == "free":
        assert not first.dirty
        assert not second.dirty
    elif advice.startswith("populate"):
        assert not process.is_present(BASE + 6)  # it has ended at the hole
    elif advice == "cold":
        assert not first.accessed
        assert not second.accessed
    elif advice == "pageout":
        lists = process.kernel.lru.lists  # type: ignore[attr-defined]
        assert all(frame in lists for frame in frames)  # there is no swap: they are back
    else:
        assert len({vma.area.flags for vma in process.space.tree if vma.end <= BASE + 9}) == 1
        assert [(vma.start - BASE, vma.end - BASE) for vma in process.space.tree] == [(0, 4), (6, 9), (9, 10)]
    if not advice.startswith("dontneed"):
        assert [first.frame, second.frame] == frames
    process.do(("mmap", 1, BASE + 99), cpu=1)  # nobody has left a lock locked
    process.end()


# -- free --------------------------------------------------------------------------------------------------


def test_is_a_freed_page_still_there_and_an_ordinary_one_once_it_is_written() -> None:
    process = mapped(9, 2, 3)
    lru, walk = process.kernel.lru, process.space.root.walk  # type: ignore[attr-defined]
    process.do(("touch", BASE + 2), cpu=1)
    before = [walk(BASE + page).frame for page in (2, 3)]
    process.do(("madvise", BASE, 9, "free"))
    assert [(walk(BASE + page).accessed, walk(BASE + page).dirty) for page in (2, 3)] == [(False, False)] * 2
    assert not process.translators(BASE + 2)
    process.do(("madvise", BASE, 9, "populate_read"))  # which drains the batch
    assert [lru.is_lazyfree(frame) for frame in before] == [True, True]
    process.do(("touch", BASE + 2), cpu=1)
    assert [walk(BASE + page).dirty for page in (2, 3)] == [True, False]
    assert [walk(BASE + page).frame for page in (2, 3)] == before
    process.do(("munmap", BASE, 9))
    assert not any(lru.is_lazyfree(frame) for frame in before)
    process.end()


def test_is_only_what_was_used_since_flushed_when_it_is_freed_again() -> None:
    held = Held()
    process = mapped(9, 2, 6, listeners=(held,))
    process.do(("madvise", BASE, 9, "free"), ("touch", BASE + 6))
    held.heard()
    process.do(("madvise", BASE, 9, "free"), ("madvise", BASE, 9, "free"))
    assert held.heard() == ["read", "flush 1", "release", "read", "release"]
    process.end()


def test_does_a_page_that_waits_in_another_cpus_batch_stay_as_it_is() -> None:
    """It is on no list yet, so it cannot be moved to another one; its bits are cleared all the same."""
    process = mapped(9)
    process.do(("touch", BASE + 2), cpu=1)
    process.do(("madvise", BASE, 9, "free"), ("madvise", BASE, 9, "populate_read"))
    entry = process.space.root.walk(BASE + 2)
    assert not process.kernel.lru.is_lazyfree(entry.frame)  # type: ignore[attr-defined]
    assert not entry.dirty
    process.end()


def test_is_the_page_of_zeros_left_alone() -> None:
    held = Held()
    process = mapped(4, listeners=(held,))
    process.do(("madvise", BASE, 4, "populate_read"))
    held.heard()
    process.do(("madvise", BASE, 4, "free"))
    assert held.heard() == ["read", "release"]
    assert process.space.root.walk(BASE).frame == ZERO_FRAME


# -- populate ----------------------------------------------------------------------------------------------


def test_are_pages_brought_in_as_if_they_were_read_or_written() -> None:
    process = mapped(LEAF + 9, 4)
    process.do(("madvise", BASE, LEAF + 9, "populate_read"))
    entries = [process.space.root.walk(BASE + page) for page in range(LEAF + 9)]
    assert [page for page, entry in enumerate(entries) if entry.frame != ZERO_FRAME] == [4]
    process.do(("madvise", BASE, 9, "populate_write"))
    assert all(process.space.root.walk(BASE + page).writable for page in range(9))
    assert process.space.stat.anon_pages == 9
    process.end()


@pytest.mark.parametrize(
    ("rights", "advice", "error"),
    [
        (NOTHING, "populate_read", Errno.EINVAL),
        (NOTHING, "populate_write", Errno.EINVAL),
        (READ, "populate_write", Errno.EINVAL),
        (READ, "populate_read", None),
        (WRITE, "populate_read", Errno.EINVAL),
    ],
)
def test_is_what_may_not_be_accessed_refused(rights: int, advice: Advice, error: Errno | None) -> None:
    process = Process("linux")
    process.do(("mmap", 4, BASE, rights))
    assert process.do(("madvise", BASE, 4, advice)) == [error]
    assert process.is_present(BASE) == (error is None)
    process.end()


def test_is_a_lack_of_memory_told() -> None:
    process = Process("linux", machine={"memory": {"size_per_socket": "8 MiB"}})
    pages = process.kernel.total_pages  # type: ignore[attr-defined]
    asked = ("madvise", BASE, pages, "populate_write")
    assert process.do(("mmap", pages, BASE), asked) == [BASE, Errno.ENOMEM]
    process.do(("munmap", BASE, pages))
    process.end()


# -- flags -------------------------------------------------------------------------------------------------


def test_is_a_vma_cut_where_its_flag_ends_and_joined_where_it_is_gone() -> None:
    process = mapped(9, 4)
    process.do(("madvise", BASE + 3, 3, "hugepage"))
    huge, none = VmFlags.HUGEPAGE, VmFlags.NONE
    assert flags(process) == [(0, 3, none), (3, 6, huge), (6, 9, none)]
    process.do(("madvise", BASE + 5, 4, "nohugepage"))
    assert flags(process) == [(0, 3, none), (3, 5, huge), (5, 9, VmFlags.NOHUGEPAGE)]
    process.do(("mlock", BASE + 3, 2))
    assert flags(process)[1] == (3, 5, huge | VmFlags.LOCKED)
    process.do(("munlock", BASE + 3, 2), ("madvise", BASE, 9, "hugepage"))
    assert flags(process) == [(0, 9, huge)]
    assert [vma.pgoff for vma in process.space.tree] == [BASE]
    process.end()


def test_is_one_vma_too_many_to_be_tried_again() -> None:
    process = mapped(9, changes={"limits": {"max_map_count": 1}})
    assert process.do(("madvise", BASE + 3, 3, "hugepage")) == [Errno.EAGAIN]
    assert flags(process) == [(0, 9, VmFlags.NONE)]
    process.end()


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("advice", "error"), [("dontneed", Errno.EINVAL), ("free", Errno.EINVAL), ("dontneed_locked", None)]
)
def test_what_becomes_of_locked_memory(advice: Advice, error: Errno | None) -> None:
    """What lies before it is done."""
    process = mapped(9, 1, 4)
    process.do(("mlock", BASE + 3, 3))
    assert process.do(("madvise", BASE, 9, advice)) == [error]
    first = process.space.root.walk(BASE + 1)
    assert first is None if advice != "free" else not first.dirty
    assert process.is_present(BASE + 4) == (error is not None)
    process.do(("munmap", BASE, 9))
    process.end()


def test_is_a_file_freed_or_brought_in_beyond_its_end() -> None:
    process = Process("linux")
    space, values = process.space, []

    def body(cpu: Cpu) -> Steps[None]:
        file = yield from process.kernel.perform(cpu, CreateFile("test", 4))
        yield from space.perform(cpu, MmapFile(file, 9, at=BASE))
        for advice in ("free", "populate_read", "populate_write"):
            value = yield from space.perform(cpu, Madvise(BASE, 9, advice))
            values.append(value)

    process.run({0: body})
    assert values == [Errno.EINVAL, Errno.EFAULT, Errno.EFAULT]
    assert process.is_present(BASE + 3)
    process.do(("munmap", BASE, 9))
    process.end()


# -- beside others -----------------------------------------------------------------------------------------

plans = st.lists(
    st.lists(st.tuples(st.sampled_from(["munmap", *ADVICE]), st.integers(0, 40)), max_size=6),
    min_size=2,
    max_size=3,
)


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=plans)
@pytest.mark.ci
def test_do_threads_advise_beside_faults(ties: str, plans: list[list[tuple[str, int]]]) -> None:
    process = Process("linux", cpus=len(plans) + 1, ties=ties)  # type: ignore[arg-type]
    process.do(("mmap", 64, BASE), *(("touch", BASE + page) for page in range(0, 64, 5)))

    def advises(cpu: Cpu) -> Steps[None]:
        for name, page in plans[cpu.id]:
            if name == "munmap":
                yield from process.space.perform(cpu, Munmap(BASE + page, 2))
            else:
                asked = Madvise(BASE + page, 17, name)  # type: ignore[arg-type]
                value = yield from process.space.perform(cpu, asked)
                assert value in (None, Errno.ENOMEM)

    def faults(cpu: Cpu) -> Steps[None]:
        for page in range(0, 64, 3):
            try:
                yield from process.space.access(cpu, BASE + page, write=page % 2 == 0)
            except SegmentationFault:
                assert not process.is_mapped(BASE + page)

    process.run({**dict.fromkeys(range(len(plans)), advises), len(plans): faults})
    process.do(("munmap", BASE, 64))
    process.end()
