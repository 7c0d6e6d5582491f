"""Do CortenMM's transactions do what they say to files, shared memory, heaps and forked processes?"""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from kernels import BASE, LEAF, entry_of, table_of

from sim.designs.cortenmm.va_alloc import HEAP_CLEARANCE, START_BRK
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    Brk,
    BusError,
    Errno,
    Exit,
    Fallocate,
    Fork,
    Ftruncate,
    Kind,
    Madvise,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Msync,
    Munmap,
    Prepopulate,
    Present,
    Status,
    SwitchMm,
)

BOTH = pytest.mark.parametrize("kind", ["rw", "adv"])


def entry(files: Files, page: int) -> Any:
    return entry_of(files.space.root, BASE + page)


def forked(files: Files) -> Any:
    """The child that the process forks."""

    def step(cpu: Cpu) -> Steps[Any]:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    (child,) = files.run(step)
    return child


# -- files and shared memory ------------------------------------------------------------------------------


@BOTH
def test_does_a_read_bring_in_what_is_there_of_the_16_pages_around(kind: str) -> None:
    files = Files(kind=kind)
    files.do(MmapFile(files.file(40, resident=True), 40, at=BASE))
    files.run(files.read(20))
    there = [page for page in range(40) if isinstance(entry(files, page), Present)]
    assert there == list(range(16, 32))
    assert all(entry(files, page).copy_on_write for page in there)


def test_is_a_hole_made_for_the_page_that_is_touched_alone() -> None:
    files = Files(kind="adv")
    file: Any = files.file(40)
    files.do(MmapFile(file, 40, at=BASE, shared=True))
    files.run(files.write(20))
    assert list(file.frames) == [20]
    assert [page for page in range(40) if isinstance(entry(files, page), Present)] == [20]


@BOTH
def test_is_a_write_to_private_memory_of_a_file_a_copy_that_the_file_does_not_have(kind: str) -> None:
    files = Files(kind=kind)
    file: Any = files.file(8, resident=True)
    files.do(MmapFile(file, 8, at=BASE), MmapFile(file, 8, at=BASE + LEAF, shared=True))
    files.run(files.read(3), files.write(3), files.write(4))
    assert files.run(files.read(LEAF + 3), files.read(LEAF + 4)) == [0, 0]
    assert entry(files, 3).frame not in file.frames.values()
    assert entry(files, LEAF + 3).frame == file.frames[3]


def test_does_the_page_of_a_file_come_back_when_its_copy_is_given_back() -> None:
    files = Files(kind="adv")
    file: Any = files.file(8, resident=True)
    files.do(MmapFile(file, 8, at=BASE))
    files.run(files.write(3))
    files.do(Madvise(BASE, 8, "dontneed"))
    assert entry(files, 3).kind is Kind.PRIVATE_FILE
    assert files.run(files.read(3)) == [0]
    assert entry(files, 3).frame == file.frames[3]


def test_does_shared_memory_live_as_long_as_its_last_mapping() -> None:
    files = Files(kind="rw")
    before = len(files.kernel.memory.in_use)
    files.do(MmapShared(8, BASE))
    files.run(files.write(0), files.write(5))
    files.do(Munmap(BASE, 7))
    assert len(list(files.kernel.vmos.references())) == 2
    files.do(Munmap(BASE + 7, 1))
    assert not list(files.kernel.vmos.references())
    files.end()
    tables = sum(1 for _ in files.space.root.tables()) - 1
    assert len(files.kernel.memory.in_use) - before <= tables + 12  # and a pool of zeroed pages


@pytest.mark.parametrize(("source", "shared"), [("paper", False), ("paper", True), ("artifact", True)])
def test_is_a_page_behind_the_end_a_bus_error(source: str, shared: bool) -> None:
    files = Files(kind="adv", changes={"source": source})
    files.do(MmapFile(files.file(4), 8, at=BASE, shared=shared))
    with pytest.raises(BusError, match="behind the end of file test"):
        files.run(files.read(4))


def test_does_the_artifact_map_zeros_behind_the_end_of_private_memory() -> None:
    files = Files(kind="adv", changes={"source": "artifact"})
    files.do(MmapFile(files.file(4), 8, at=BASE))
    (stamp,) = files.run(files.write(6))
    assert files.run(files.read(6), files.read(5)) == [stamp, 0]


@BOTH
@pytest.mark.parametrize("source", ["paper", "artifact"])
def test_does_a_file_that_is_cut_off_take_its_pages_out_of_all_mappings(kind: str, source: str) -> None:
    """Of the parent, of the child, and private copies; the artifact leaves them."""
    files = Files(kind=kind, changes={"source": source})
    file: Any = files.file(8, resident=True)
    files.do(MmapFile(file, 8, at=BASE, shared=True), MmapFile(file, 6, 2, at=BASE + LEAF))
    files.run(*(files.read(page) for page in range(8)), files.write(LEAF + 3), files.read(LEAF))
    child = forked(files)
    assert files.do(Ftruncate(file, 3)) == [None]
    left = 3 if source == "paper" else 8
    for space in (files.space, child):
        there = [page - BASE for page, _ in space.root.present_entries()]
        assert [page for page in there if page < LEAF] == list(range(left))
        assert [page - LEAF for page in there if page >= LEAF] == list(range(1 if source == "paper" else 6))
        assert space.mark(BASE + 7).kind is Kind.SHARED_FILE
    assert list(file.frames) == [0, 1, 2]
    if source == "paper":
        with pytest.raises(BusError):
            files.run(files.read(3))


def test_is_a_space_that_ends_no_mapper_any_more() -> None:
    files = Files(kind="adv")
    file: Any = files.file(8, resident=True)
    files.do(MmapFile(file, 8, at=BASE, shared=True))
    child = forked(files)
    assert [maps.space for maps in file.mappers] == [files.space, child]

    def ends(cpu: Cpu) -> Steps[None]:
        yield from files.kernel.perform(cpu, SwitchMm(child))
        yield from child.perform(cpu, Exit())
        yield from files.kernel.perform(cpu, SwitchMm(files.space))

    files.run(ends)
    assert [maps.space for maps in file.mappers] == [files.space]


@pytest.mark.parametrize(("source", "there"), [("paper", [0, 3, 4]), ("artifact", [0])])
def test_does_fallocate_bring_pages_into_memory_but_in_the_artifact(source: str, there: list[int]) -> None:
    files = Files(kind="adv", changes={"source": source})
    file: Any = files.file(2)
    files.do(MmapFile(file, 8, at=BASE, shared=True))
    files.run(files.write(0))
    assert files.do(Fallocate(file, 3, 2), Fallocate(file, 3, 0)) == [None, Errno.EINVAL]
    assert (file.pages, sorted(file.frames)) == (5, there)


# -- what is given back -----------------------------------------------------------------------------------


@BOTH
def test_is_memory_that_was_given_back_marked_as_before(kind: str) -> None:
    files = Files(kind=kind)
    files.do(Mmap(8, BASE))
    files.run(*(files.write(page) for page in range(8)))
    files.do(Mprotect(BASE + 2, 2, READ), Madvise(BASE + 1, 5, "dontneed"))
    assert [entry(files, page) for page in (1, 2, 3, 4)] == [
        Status(READ_WRITE),
        Status(READ),
        Status(READ),
        Status(READ_WRITE),
    ]
    assert isinstance(entry(files, 0), Present)
    assert files.run(files.read(1)) == [0]


@pytest.mark.parametrize(("source", "left"), [("paper", 0), ("artifact", 1)])
def test_does_the_artifact_keep_what_nobody_needs(source: str, left: int) -> None:
    files = Files(kind="adv", changes={"source": source})
    files.do(Mmap(1, BASE))
    files.run(files.write(0))
    assert files.do(Madvise(BASE, 1, "dontneed")) == [None]
    assert files.run(files.read(0)) == [left]


def test_is_a_hole_told_and_the_rest_done() -> None:
    files = Files(kind="rw")
    files.do(Mmap(2, BASE), Mmap(2, BASE + 4))
    files.run(files.write(5))
    assert files.do(Madvise(BASE, 6, "dontneed"), Msync(BASE, 6), Msync(BASE, 2)) == [
        Errno.ENOMEM,
        Errno.ENOMEM,
        None,
    ]
    assert entry(files, 5) == Status(READ_WRITE)


# -- the heap ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "shrunk"), [("paper", 2), ("artifact", 5)])
def test_does_a_heap_grow_and_does_it_shrink(source: str, shrunk: int) -> None:
    files = Files(kind="adv", changes={"source": source})
    assert files.do(Brk(START_BRK + 5), Brk(START_BRK + 2)) == [START_BRK + 5, START_BRK + shrunk]
    assert files.space.status(START_BRK + 1) == READ_WRITE
    assert (files.space.status(START_BRK + 4) is None) == (shrunk == 2)


def test_is_a_heap_refused_that_would_meet_a_mapping_or_its_limit() -> None:
    files = Files(kind="adv")
    files.do(Mmap(1, START_BRK + 3))
    asked = (Brk(START_BRK + 4), Brk(START_BRK + HEAP_CLEARANCE + 1), Brk(START_BRK + 3))
    assert files.do(*asked) == [START_BRK, START_BRK, START_BRK + 3]


def test_are_addresses_behind_the_heap_kept_free_for_it() -> None:
    files = Files(kind="adv", cpus=2)
    files.do(Brk(START_BRK + 1))
    anywhere = [files.do(Mmap(4), cpu=cpu)[0] for cpu in (0, 1)]
    assert all(not START_BRK <= at < START_BRK + HEAP_CLEARANCE for at in anywhere)


# -- fork ---------------------------------------------------------------------------------------------------


@BOTH
def test_is_private_memory_shared_until_somebody_writes(kind: str) -> None:
    files = Files(kind=kind)
    files.do(Mmap(8, BASE))
    files.run(*(files.write(page) for page in range(3)))
    child = forked(files)
    frame = entry(files, 1).frame
    assert entry_of(child.root, BASE + 1).frame == frame
    assert files.kernel.memory.in_use.owners(frame) == 2
    files.run(files.write(1))
    assert entry(files, 1).frame != frame
    assert files.kernel.memory.in_use.owners(frame) == 1
    assert entry_of(child.root, BASE + 5) == Status(READ_WRITE)


def test_does_the_last_owner_write_without_a_copy() -> None:
    files = Files(kind="rw")
    files.do(Mmap(8, BASE))
    files.run(files.write(1))
    child = forked(files)
    frame = entry(files, 1).frame

    def ends(cpu: Cpu) -> Steps[None]:
        yield from files.kernel.perform(cpu, SwitchMm(child))
        yield from child.perform(cpu, Exit())
        yield from files.kernel.perform(cpu, SwitchMm(files.space))

    files.run(ends)
    files.run(files.write(1))
    assert entry(files, 1).frame == frame
    assert not entry(files, 1).copy_on_write


@BOTH
def test_does_a_fork_copy_marks_where_they_are(kind: str) -> None:
    files = Files(kind=kind)
    files.do(Mmap(3 * LEAF, BASE))
    files.run(files.write(0))
    child = forked(files)
    above = table_of(child.root, BASE, 2)
    assert above is not None
    assert above.get(1) == above.get(2) == Status(READ_WRITE)
    leaf = table_of(child.root, BASE, 1)
    assert leaf is not None
    assert leaf.present == LEAF


@BOTH
def test_is_nothing_left_of_a_process(kind: str) -> None:
    files = Files(kind=kind)
    file = files.file(8, resident=True)
    files.do(Mmap(600, BASE), MmapShared(4, BASE + LEAF * 4), MmapFile(file, 8, at=BASE + LEAF * 8))
    files.run(*(files.write(page) for page in (0, 599, LEAF * 4, LEAF * 8)))
    files.do(Brk(START_BRK + 3), Exit())
    assert not list(files.space.mappings())
    files.space.settle()
    left = {each.frame for each in files.kernel.references()}
    assert len(files.kernel.memory.in_use) == len(left)


# -- flushes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("munmap_flush", "calls"), [("lazy", 0), ("synchronous", 1)])
def test_does_munmap_wait_for_other_tlbs(munmap_flush: str, calls: int) -> None:
    files = Files(kind="adv", changes={"munmap_flush": munmap_flush})
    files.do(Mmap(2, BASE))
    files.run(files.write(1))
    files.run(files.read(1), cpu=1)
    in_use, frame = files.kernel.memory.in_use, entry(files, 1).frame
    (stale,) = (cpu.tlb for cpu in files.process.machine.cpus if cpu.id == 1)
    gone: list[bool] = []

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from files.space.perform(cpu, Munmap(BASE, 2))
        gone.append(frame not in in_use and BASE + 1 not in stale.frames())

    def waits(cpu: Cpu) -> Steps[None]:
        cpu.work(100_000_000, Activity("user"))
        yield cpu.take_pending()

    files.process.run({0: unmaps, 1: waits})
    assert gone == [bool(calls)]
    assert files.process.machine.tally.calls == calls


@BOTH
def test_is_a_table_that_was_filled_in_bulk_forked_as_one(kind: str) -> None:
    files = Files(kind=kind)
    files.do(Mmap(2 * LEAF, BASE), Prepopulate(BASE, LEAF))
    child = forked(files)
    leaf, in_use = table_of(child.root, BASE, 1), files.kernel.memory.in_use
    assert leaf is not None
    assert leaf.run is not None
    frames = [entry(files, page).frame for page in range(LEAF)]
    assert {in_use.owners(frame) for frame in frames} == {2}
    files.run(files.write(5))
    assert entry(files, 5).frame != frames[5] == entry_of(child.root, BASE + 5).frame
    assert [entry_of(child.root, BASE + page).frame for page in range(LEAF)] == frames
    assert (in_use.owners(frames[5]), in_use.owners(frames[6])) == (1, 2)
