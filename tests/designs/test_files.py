"""Do mappings of files and shared memory show what the file has, and does each write go where it belongs?"""

from __future__ import annotations

import pytest
from contents import Files
from kernels import BASE, LEAF
from machines import NS

from sim.engine import Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    READ,
    READ_WRITE,
    BusError,
    Errno,
    Fallocate,
    Ftruncate,
    MmapFile,
    MmapShared,
    Mprotect,
    Munmap,
    OutOfMemory,
    Present,
)

US = 1000 * NS
BOTH_TIES = pytest.mark.parametrize("ties", ["fifo", "shuffle"])


# -- shared and private ---------------------------------------------------------------------------------


def test_do_two_shared_mappings_of_a_file_show_the_same() -> None:
    files = Files()
    file = files.file(8)
    files.do(MmapFile(file, 8, shared=True, at=BASE), MmapFile(file, 6, 2, shared=True, at=BASE + 100))
    (stamp,) = files.run(files.write(3))
    assert files.run(files.read(101), files.read(100), cpu=1) == [stamp, 0]
    (later,) = files.run(files.write(100), cpu=1)
    assert files.run(files.read(2), files.read(3)) == [later, stamp]
    assert len(file.frames) == 2  # type: ignore[attr-defined]
    files.do(Munmap(BASE, 8))
    assert files.run(files.read(101)) == [stamp]
    files.do(Munmap(BASE + 100, 8), MmapFile(file, 8, at=BASE))
    assert files.run(files.read(3)) == [stamp]  # the file has kept it
    files.end()


def test_is_a_write_to_a_private_mapping_nobody_elses_business() -> None:
    files = Files()
    file = files.file(8)
    files.do(MmapFile(file, 8, shared=True, at=BASE), MmapFile(file, 8, at=BASE + 100))
    (stamp,) = files.run(files.write(1))
    assert files.run(files.read(101)) == [stamp]
    (own,) = files.run(files.write(101))  # it was read before: do_wp_page
    (new,) = files.run(files.write(102))  # it was not: do_cow_fault
    assert files.run(files.read(1), files.read(2), files.read(101), files.read(102)) == [stamp, 0, own, new]
    (again,) = files.run(files.write(1))  # nor does the copy see what the file gets now
    assert files.run(files.read(101), files.read(1)) == [own, again]
    assert files.space.stat.anon_pages == 2
    files.do(Munmap(BASE + 100, 8), MmapFile(file, 8, at=BASE + 100))
    assert files.run(files.read(101), files.read(102)) == [again, 0]
    files.end()


def test_does_shared_memory_without_a_name_go_with_its_last_mapping() -> None:
    files = Files()
    before = len(files.kernel.pages.in_use)
    files.do(MmapShared(8, BASE))
    (stamp,) = files.run(files.write(1))
    files.run(files.write(7))
    files.do(Munmap(BASE + 3, 2))
    assert files.run(files.read(1), cpu=1) == [stamp]
    files.do(Munmap(BASE, 3))
    assert files.run(files.read(7)) != [0]
    files.do(Munmap(BASE, 8))
    files.run(files.kernel.lru.drain)
    assert len(files.kernel.pages.in_use) == before
    assert not files.kernel.page_cache.inodes
    files.do(MmapShared(8, BASE), Munmap(BASE + 3, 1), Munmap(BASE, 8))  # two VMAs in one call
    assert not files.kernel.page_cache.inodes
    files.end()


@pytest.mark.parametrize(("at_a_time", "sections"), [(8, 2), (1, 9)])
def test_how_many_mappings_of_a_file_leave_it_at_a_time(at_a_time: int, sections: int) -> None:
    taken: list[str] = []

    class Watches(Probe):
        def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
            taken.append(lock.name)

    files = Files(listeners=(Watches(),), changes={"limits": {"unlink_batch": at_a_time}})
    file = files.file(100)
    for number in range(9):
        files.do(MmapFile(file, 1, 2 * number, at=BASE + number))
    taken.clear()
    files.do(Munmap(BASE, 9))
    assert sum("i_mmap_rwsem" in name for name in taken) == sections
    files.end()


# -- VMAs ------------------------------------------------------------------------------------------------


def vmas(files: Files) -> list[tuple[int, int, int]]:
    return [(vma.start - BASE, vma.end - BASE, vma.pgoff) for vma in files.space.tree]


def test_do_only_mappings_side_by_side_of_the_same_file_merge() -> None:
    files = Files()
    one, other = files.file(100), files.file(100)
    files.do(
        MmapFile(one, 4, 10, at=BASE),
        MmapFile(one, 4, 14, at=BASE + 4),  # goes on where the first one ends
        MmapFile(one, 4, 19, at=BASE + 8),  # does not
        MmapFile(other, 4, 23, at=BASE + 12),
        MmapFile(other, 4, 27, shared=True, at=BASE + 16),
    )
    assert vmas(files) == [(0, 8, 10), (8, 12, 19), (12, 16, 23), (16, 20, 27)]
    files.do(Mprotect(BASE + 2, 3, READ))
    assert vmas(files)[:3] == [(0, 2, 10), (2, 5, 12), (5, 8, 15)]
    files.do(Mprotect(BASE + 2, 3, READ_WRITE), Munmap(BASE + 9, 1))
    assert vmas(files) == [(0, 8, 10), (8, 9, 19), (10, 12, 21), (12, 16, 23), (16, 20, 27)]
    assert len(one.mapped_by) == 3  # type: ignore[attr-defined]
    files.end()


# -- faults ----------------------------------------------------------------------------------------------


def test_does_a_read_map_what_is_cached_around_it_and_nothing_else() -> None:
    """Four pages here, aligned, of the file, of the VMA, of the table, and only those that nobody locks."""
    files = Files()
    file = files.file(16, resident=True)
    files.do(MmapFile(file, 13, at=BASE + 2))

    def present() -> list[int]:
        return [page - BASE for page, _ in files.space.root.present_entries()]

    files.run(files.read(6))
    assert present() == [4, 5, 6, 7]
    files.run(files.read(3))
    assert present() == [2, 3, 4, 5, 6, 7]
    files.run(files.read(14))
    assert present() == [2, 3, 4, 5, 6, 7, 12, 13, 14]
    assert all(entry.copy_on_write for _, entry in files.space.root.present_entries())
    assert files.space.stat.file_pages == 9
    sparse = files.file(16)
    files.do(Munmap(BASE, 20), MmapFile(sparse, 16, at=BASE))
    files.run(files.read(5))
    assert present() == [5]  # a hole is made one page at a time
    files.end()


def test_does_a_page_that_is_mapped_for_a_neighbour_cost_less_than_the_one_that_was_asked_for() -> None:
    """Four pages are mapped: one at `file_page` and three at `file_around`; both are work on tables."""
    costs = {"file_page": "0 ns", "file_around": "0 ns"}

    def spent(page: int, **changed: str) -> int:
        files = Files(changes={"costs": {**costs, **changed}})
        file = files.file(16, resident=True)
        files.do(MmapFile(file, 16, at=BASE))
        cpu = files.process.cpus[0]
        before = cpu.spent.get(PAGE_TABLE, 0)
        files.run(files.read(page))
        return cpu.spent[PAGE_TABLE] - before

    nothing = spent(5)
    assert spent(5, file_page="7 us") - nothing == 7 * US
    assert spent(5, file_around="1 us") - nothing == 3 * US


def test_is_a_page_behind_the_end_of_a_file_a_bus_error() -> None:
    files = Files()
    file = files.file(3)
    files.do(MmapFile(file, 9, shared=True, at=BASE))
    files.run(files.write(2))

    def body(cpu: Cpu) -> Steps[None]:
        for write in (True, False):
            with pytest.raises(BusError, match=rf"page {BASE + 3:#x}, behind the end of file test 1"):
                yield from files.space.access(cpu, BASE + 3, write=write)

    files.process.run({0: body})
    files.end()


@BOTH_TIES
def test_do_threads_that_fault_on_one_page_of_a_file_make_it_once(ties: str) -> None:
    files = Files(cpus=4, ties=ties)
    file = files.file(4)
    files.do(MmapFile(file, 4, shared=True, at=BASE), MmapFile(file, 4, at=BASE + LEAF))

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(4):
            yield from files.space.access(cpu, BASE + page, write=bool(cpu.id % 2))
            yield from files.space.access(cpu, BASE + LEAF + page, write=cpu.id == 3)

    files.process.run(dict.fromkeys(range(4), body))
    assert sorted(file.frames) == [0, 1, 2, 3]  # type: ignore[attr-defined]
    assert files.space.stat.anon_pages == 4
    files.end()


def test_is_a_shared_page_dirty_and_flushed_before_it_is_unmapped() -> None:
    """The flush is the table's own, under its lock, and one for all (tlb_delay_rmap)."""
    flushes: list[int] = []

    class Watches(Probe):
        def flush(self, cpu: CpuView, pages: int) -> None:
            flushes.append(pages)

    files = Files(listeners=(Watches(),))
    file = files.file(2 * LEAF)
    files.do(MmapFile(file, 2 * LEAF, shared=True, at=BASE))
    for page in (1, 5, LEAF):
        files.run(lambda cpu, page=page: files.space.access(cpu, BASE + page))  # type: ignore[misc]
    files.run(lambda cpu: files.space.access(cpu, BASE + LEAF + 3, write=False))
    files.do(Munmap(BASE, 2 * LEAF))
    assert flushes == [5, 4, LEAF + 1]  # two tables with dirty pages, then the tables themselves
    files.end()


# -- size ------------------------------------------------------------------------------------------------


def test_does_truncation_take_pages_out_of_all_mappings() -> None:
    files = Files()
    file = files.file(8)
    files.do(MmapFile(file, 8, shared=True, at=BASE), MmapFile(file, 8, at=BASE + 100))
    files.run(*(files.write(page) for page in range(8)), files.read(106), files.write(107))
    before = len(files.kernel.pages.in_use)
    files.do(Ftruncate(file, 5), cpu=1)
    files.run(files.kernel.lru.drain)
    assert [page - BASE for page, _ in files.space.root.present_entries()] == [0, 1, 2, 3, 4, 104]
    assert before - len(files.kernel.pages.in_use) == 4  # three of the file, one private copy
    files.do(Ftruncate(file, 8))
    assert files.run(files.read(4), files.read(6), files.read(107)) != [0, 0, 0]
    assert files.run(files.read(6), files.read(107)) == [0, 0]
    assert files.do(Ftruncate(file, -1), Ftruncate(file, 0)) == [Errno.EINVAL, None]
    assert not files.space.stat.file_pages
    files.end()


def test_does_fallocate_bring_pages_in_and_make_the_file_longer() -> None:
    files = Files()
    file = files.file(2)
    assert files.do(Fallocate(file, 1, 4), Fallocate(file, 1, 0), Fallocate(file, -1, 2)) == [
        None,
        Errno.EINVAL,
        Errno.EINVAL,
    ]
    assert (file.pages, sorted(file.frames)) == (5, [1, 2, 3, 4])  # type: ignore[attr-defined]
    files.end()


def test_does_a_fallocate_without_room_leave_what_was_there() -> None:
    files = Files(machine={"memory": {"size_per_socket": "8 MiB"}})
    file = files.file(2)
    assert files.do(Fallocate(file, 0, 2), Fallocate(file, 0, files.kernel.total_pages)) == [
        None,
        Errno.ENOSPC,
    ]
    assert (file.pages, sorted(file.frames)) == (2, [0, 1])  # type: ignore[attr-defined]
    files.end()


def test_is_a_resident_file_refused_that_is_larger_than_memory() -> None:
    files = Files(machine={"memory": {"size_per_socket": "8 MiB"}})
    with pytest.raises(OutOfMemory):
        files.file(files.kernel.total_pages + 1, resident=True)


@BOTH_TIES
@pytest.mark.parametrize("seed", range(12))
def test_may_files_be_cut_off_and_unmapped_while_others_fault(ties: str, seed: int) -> None:
    """Whatever happens first: no page is lost, none is mapped behind the end, nobody stays locked."""
    files = Files(cpus=4, ties=ties, seed=seed)
    file = files.file(64)
    draw = files.process.machine.engine.stream("what")
    files.do(MmapFile(file, 64, shared=True, at=BASE), MmapFile(file, 64, at=BASE + LEAF))

    def faults(cpu: Cpu) -> Steps[None]:
        for _ in range(60):
            page, where = draw.randrange(64), draw.choice([0, LEAF])
            try:
                yield from files.space.access(cpu, BASE + where + page, write=draw.random() < 0.5)
            except BusError:
                assert page >= 8

    def cuts(cpu: Cpu) -> Steps[None]:
        for _ in range(12):
            yield from files.step(Ftruncate(file, draw.choice([8, 20, 64])))(cpu)
            yield from files.step(Fallocate(file, draw.randrange(60), 4))(cpu)

    def maps(cpu: Cpu) -> Steps[None]:
        for _ in range(12):
            start, pages = draw.randrange(60), draw.choice([1, 4])
            where, shared = draw.choice([(0, True), (LEAF, False)])
            mapping = MmapFile(file, pages, start, shared=shared, at=BASE + where + start)
            yield from files.step(mapping)(cpu)
            yield from files.step(Mprotect(BASE + where + start, pages, READ_WRITE))(cpu)

    files.process.run({0: faults, 1: faults, 2: cuts, 3: maps})
    assert all(
        page % LEAF < 64 and isinstance(entry, Present) for page, entry in files.space.root.present_entries()
    )
    files.end()
