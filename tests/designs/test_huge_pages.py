"""Huge pages: who gets them, what splits them, what they cost, and where they go."""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from held import Held
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import BASE, LEAF, Process, design, table_of
from machines import raw_spec
from pydantic import ValidationError

from sim.engine import Steps
from sim.hardware import Cpu, MachineSpec
from sim.mm import (
    READ,
    READ_WRITE,
    ZERO_FRAME,
    BusError,
    Errno,
    Fork,
    Madvise,
    Mlock,
    Mmap,
    MmapHuge,
    Mprotect,
    Mremap,
    Munmap,
    Present,
    Touch,
    UffdRegister,
)
from sim.workload.place_spec import MmapStep

HALF = LEAF // 2


def thp(enabled: str = "always", *, zero: bool = True, pool: int = 0, **options: Any) -> Files:
    changes = {"huge_pages": {"thp": enabled, "use_zero_page": zero, "pool": pool}}
    return Files(changes=changes, **options)


def sizes(files: Files) -> list[tuple[int, int]]:
    """The present entries: first page from `BASE` on, and how many pages; small ones side by side are one."""
    found: list[tuple[int, int]] = []
    for page, entry in files.space.root.present_entries():
        if entry.level == 1 and found and sum(found[-1]) == page - BASE and found[-1][1] != LEAF:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((page - BASE, entry.pages))
    return found


def frame_of(files: Files, page: int) -> int:
    entry = files.space.root.walk(BASE + page)
    assert entry is not None
    return int(entry.frame_of(BASE + page))


def forked(files: Files) -> Any:
    """A child of the process."""

    def step(cpu: Cpu) -> Steps[Any]:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    return files.run(step)[0]


# -- who gets one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "advice", "huge"),
    [
        ("never", None, False),
        ("never", "hugepage", False),
        ("madvise", None, False),
        ("madvise", "hugepage", True),
        ("always", None, True),
        ("always", "nohugepage", False),
    ],
)
def test_which_memory_gets_huge_pages(enabled: str, advice: Any, huge: bool) -> None:
    files = thp(enabled)
    files.do(Mmap(LEAF, BASE), *([Madvise(BASE, LEAF, advice)] if advice else []))
    files.run(files.write(7))
    assert sizes(files) == [(0, LEAF) if huge else (7, 1)]
    assert files.space.stat.anon_pages == (LEAF if huge else 1)
    files.do(Munmap(BASE, LEAF))
    files.end()


def test_is_a_page_small_where_its_2_mib_are_not_all_of_one_mapping_or_a_table_is_there() -> None:
    files = thp()
    files.do(Mmap(LEAF + 9, BASE + 9), Mmap(LEAF, BASE + 2 * LEAF))
    files.run(files.write(9), files.write(LEAF))
    assert sizes(files) == [(9, 1), (LEAF, 1)]
    files.run(files.write(2 * LEAF))
    files.do(Munmap(BASE + 2 * LEAF + 5, 1), Madvise(BASE + 2 * LEAF, LEAF))
    files.run(files.write(2 * LEAF))  # what zapping small pages leaves is their table
    assert sizes(files)[2:] == [(2 * LEAF, 1)]
    files.end()


def test_is_a_page_small_where_no_block_is_free() -> None:
    files = thp(machine={"memory": {"size_per_socket": "4 MiB"}, "topology": {"sockets": 1, "numa_nodes": 1}})
    files.do(Mmap(2 * LEAF, BASE))
    files.run(files.write(0))
    files.run(*(files.write(LEAF + page) for page in range(9)))
    assert sizes(files) == [(0, LEAF), (LEAF, 9)]
    files.do(Munmap(BASE, 2 * LEAF))
    files.end()


# -- zeros, and copies ------------------------------------------------------------------------------------


def test_do_reads_share_the_huge_page_of_zeros_until_somebody_writes() -> None:
    files = thp()
    files.do(Mmap(2 * LEAF, BASE))
    files.run(files.read(3), files.read(LEAF + 3))
    assert [entry.frame for _, entry in files.space.root.present_entries()] == [ZERO_FRAME] * 2
    assert files.space.stat.anon_pages == 0
    files.run(files.read(4), cpu=1)
    (stamp,) = files.run(files.write(3))
    assert sizes(files) == [(0, LEAF), (LEAF, LEAF)]
    assert files.run(files.read(3), files.read(4), cpu=1) == [stamp, 0]
    files.do(Mprotect(BASE + LEAF, 1, READ))
    assert frame_of(files, LEAF + 5) == ZERO_FRAME
    assert sizes(files) == [(0, LEAF), (LEAF, LEAF)]  # 512 small ones
    files.do(Munmap(BASE, 2 * LEAF))
    files.end()


def test_is_a_huge_page_of_zeros_written_to_although_others_bring_in_what_is_missing() -> None:
    """It is there, so nobody is asked (wp_huge_pmd); what is missing beside it is not huge."""
    files = thp()
    files.do(Mmap(2 * LEAF, BASE))
    files.run(files.read(3))
    files.do(UffdRegister(BASE, 2 * LEAF))
    (stamp,) = files.run(files.write(5))
    assert files.run(files.read(5), files.read(3)) == [stamp, 0]
    assert sizes(files) == [(0, LEAF)]


def test_is_a_shared_huge_page_split_by_the_first_write_and_copied_page_by_page() -> None:
    files = thp()
    files.do(Mmap(LEAF, BASE))
    stamps = files.run(files.write(1), files.write(2))
    child = forked(files)
    assert files.kernel.pages.in_use.refcount[frame_of(files, 0)] == 2
    (third,) = files.run(files.write(1))
    assert table_of(files.space.root, BASE, 1) is not None
    assert frame_of(files, 1) != frame_of(files, 0) + 1
    assert frame_of(files, 2) == frame_of(files, 0) + 2
    entry = child.root.walk(BASE)
    assert (entry.level, entry.frame) == (2, frame_of(files, 0))
    assert files.contents.of[entry.frame + 1] == stamps[0]
    assert files.run(files.read(1), files.read(2)) == [third, stamps[1]]
    files.do(Munmap(BASE, LEAF))
    assert files.kernel.pages.in_use.refcount[entry.frame] == 1
    files.end()


def test_is_a_huge_page_made_writable_once_its_other_owner_is_gone() -> None:
    files = thp()
    files.do(Mmap(LEAF, BASE))
    files.run(files.write(1))
    before = frame_of(files, 1)
    child = forked(files)
    files.run(lambda cpu: child.perform(cpu, Munmap(BASE, LEAF)))
    files.run(files.write(1))
    assert (frame_of(files, 1), sizes(files)) == (before, [(0, LEAF)])
    files.end()


# -- what splits, and what does not -------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [LEAF, HALF])
@pytest.mark.parametrize(
    "operation",
    [
        lambda pages: Munmap(BASE, pages),
        lambda pages: Madvise(BASE, pages),
        lambda pages: Mprotect(BASE, pages, READ),
        lambda pages: Mremap(BASE, pages, pages, to=BASE + 8 * LEAF),
        lambda pages: Mlock(BASE, pages),
    ],
    ids=["munmap", "dontneed", "mprotect", "mremap", "mlock"],
)
def test_does_an_operation_on_a_part_split_and_one_on_the_whole_not(operation: Any, pages: int) -> None:
    files = thp()
    files.do(Mmap(LEAF, BASE))
    (stamp,) = files.run(files.write(HALF))
    folio = frame_of(files, 0)
    assert files.do(operation(pages))[0] in (None, BASE + 8 * LEAF)
    left = [entry for _, entry in files.space.root.present_entries()]
    assert {entry.level for entry in left} <= {2 if pages == LEAF else 1}
    assert all(folio <= entry.frame < folio + LEAF for entry in left)
    if pages == HALF:
        assert files.run(files.read(HALF)) == [stamp]
        assert folio in files.kernel.pages.in_use
    files.do(Munmap(BASE, 9 * LEAF))
    assert folio not in files.kernel.pages.in_use
    files.end()


@pytest.mark.parametrize(
    ("operation", "flushes"),
    [
        (Munmap(BASE, 2 * LEAF), ["flush 2"]),  # 2 MiB at a time
        (Munmap(BASE, LEAF + 7), ["flush 512", "flush 519"]),  # split, then small and huge ones together
        (Mprotect(BASE, 2 * LEAF, READ), ["flush 2"]),
        (Mprotect(BASE, LEAF, READ), ["flush 1"]),
    ],
)
def test_what_is_flushed(operation: Any, flushes: list[str]) -> None:
    held = Held()
    files = thp(listeners=(held,))
    files.do(Mmap(2 * LEAF, BASE))
    files.run(files.write(0), files.write(LEAF), files.read(LEAF + 9))
    files.run(files.read(5), files.read(LEAF), cpu=1)
    held.heard()
    files.do(operation)
    assert [event for event in held.heard() if event.startswith("flush")] == flushes
    if isinstance(operation, Munmap):
        assert not any(files.process.translators(BASE + page) for page in (0, 5))
    files.end()


def test_is_the_folio_free_only_when_its_last_part_has_gone() -> None:
    files = thp()
    files.do(Mmap(LEAF, BASE))
    files.run(files.write(0))
    folio, in_use = frame_of(files, 0), files.kernel.pages.in_use
    files.do(Munmap(BASE + 1, LEAF - 1))
    assert (in_use.refcount[folio], files.space.stat.anon_pages) == (1, 1)
    files.do(Munmap(BASE, 1))
    assert folio not in in_use
    files.end()


def test_does_one_translation_serve_512_pages() -> None:
    files = thp()
    files.do(Mmap(LEAF, BASE))
    files.run(files.write(0))
    tlb = files.process.cpus[0].tlb
    held = len(tlb._entries)
    faults = files.kernel.machine.engine.now
    files.do(Touch(range(BASE, BASE + LEAF)))
    assert len(tlb._entries) == held
    assert tlb.lookup(BASE + 77).frame == frame_of(files, 77)  # type: ignore[union-attr]
    assert files.kernel.machine.engine.now - faults < 100_000 * LEAF
    files.end()


def test_do_racing_faults_make_one_huge_page() -> None:
    files = thp(cpus=4)
    files.do(Mmap(LEAF, BASE))

    def touches(cpu: Cpu) -> Steps[None]:
        yield from files.space.access(cpu, BASE + 9 * cpu.id, write=cpu.id > 0)

    files.process.run(dict.fromkeys(range(4), touches))
    assert sizes(files) == [(0, LEAF)]
    assert files.space.stat.anon_pages == LEAF
    files.do(Munmap(BASE, LEAF))
    files.end()


@given(st.integers(0, LEAF - 1), st.integers(1, LEAF))
@settings(max_examples=15)
def test_is_any_part_given_back_and_nothing_else(first: int, pages: int) -> None:
    pages = min(pages, LEAF - first)
    files = thp()
    files.do(Mmap(LEAF, BASE))
    files.run(files.write(0))
    files.do(Madvise(BASE + first, pages))
    present = [entry.pages for _, entry in files.space.root.present_entries()]
    assert sum(present) == files.space.stat.anon_pages == LEAF - pages
    files.end()


# -- the pool -----------------------------------------------------------------------------------------------


def test_are_huge_pages_of_the_pool_reserved_by_mmap_and_given_back() -> None:
    files = thp("never", pool=3)
    pool = files.kernel.hugetlb
    assert files.do(MmapHuge(LEAF + 1, BASE)) == [BASE]  # rounded up
    assert (pool.free, pool.reserved) == (3, 2)
    assert files.do(MmapHuge(2 * LEAF, BASE + 8 * LEAF)) == [Errno.ENOMEM]
    (stamp,) = files.run(files.write(LEAF + 3))
    assert (pool.free, pool.reserved, sizes(files)) == (2, 1, [(LEAF, LEAF)])
    assert files.run(files.read(LEAF + 3), files.read(LEAF + 4), cpu=1) == [stamp, 0]
    assert files.space.stat.hugetlb_pages == LEAF
    files.do(Munmap(BASE, LEAF))
    assert (pool.free, pool.reserved) == (2, 0)
    files.do(Munmap(BASE + LEAF, LEAF))
    assert (pool.free, pool.reserved) == (3, 0)
    files.end()


def test_where_does_a_mapping_of_the_pool_begin() -> None:
    files = thp("never", pool=2)
    first, second = files.do(MmapHuge(LEAF), MmapHuge(LEAF))
    assert first % LEAF == second % LEAF == 0
    assert first - second == LEAF
    assert len(list(files.space.tree)) == 2  # they never merge
    files.end()


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (MmapHuge(LEAF, BASE + 1), Errno.EINVAL),
        (MmapHuge(0, BASE), Errno.EINVAL),
        (Munmap(BASE + 1, LEAF), Errno.EINVAL),
        (Munmap(BASE, LEAF - 1), Errno.EINVAL),
        (Mprotect(BASE, 3, READ), Errno.EINVAL),
        (Madvise(BASE + 3, LEAF), Errno.EINVAL),
        (Madvise(BASE, LEAF + 3), None),
        (Madvise(BASE, 9, "free"), Errno.EINVAL),
        (Mremap(BASE, LEAF, 2 * LEAF), Errno.EINVAL),
        (Mlock(BASE, 3), None),
    ],
)
def test_what_is_refused_that_would_cut_a_huge_page(operation: Any, answer: Errno | None) -> None:
    files = thp("never", pool=4)
    files.do(MmapHuge(2 * LEAF, BASE))
    files.run(files.write(0), files.write(LEAF))
    assert files.do(operation) == [answer]
    gone = isinstance(operation, Madvise) and answer is None
    assert sizes(files) == [(LEAF, LEAF)] if gone else [(0, LEAF), (LEAF, LEAF)]
    files.end()


def test_is_a_page_of_the_pool_copied_after_fork_or_the_access_a_signal() -> None:
    files = thp("never", pool=2)
    files.do(MmapHuge(LEAF, BASE))
    (stamp,) = files.run(files.write(5))
    first = forked(files)
    forked(files)
    (other,) = files.run(files.write(5))
    entry = first.root.walk(BASE)
    assert isinstance(entry, Present)
    assert files.contents.of[entry.frame + 5] == stamp != other

    def is_a_signal(cpu: Cpu) -> Steps[None]:
        yield from files.process.load(cpu, first)
        with pytest.raises(BusError):
            yield from first.access(cpu, BASE + 5)

    files.process.run({1: is_a_signal})
    files.end()


@pytest.mark.parametrize(("pages", "fits"), [(256, True), (513, False)])
def test_is_a_pool_refused_that_takes_more_than_half_of_the_memory(pages: int, fits: bool) -> None:
    machine = MachineSpec.model_validate(raw_spec())  # 2 GiB
    refusal = design("linux", {"huge_pages": {"pool": pages}}).refuses(machine)
    assert refusal is None if fits else "huge_pages.pool" in str(refusal)


@pytest.mark.parametrize(
    ("keys", "pages"),
    [({"huge": "2 MiB"}, 512), ({"huge": "1 GiB"}, None), ({"huge": "2 MiB", "shared": True}, None)],
)
def test_what_a_step_may_ask_for(keys: dict[str, Any], pages: int | None) -> None:
    step = {"at": "anywhere", "size": "1 MiB", **keys}
    if pages is None:
        with pytest.raises(ValidationError, match="huge"):
            MmapStep.model_validate(step)
    else:
        assert MmapStep.model_validate(step).operation(256, None) == MmapHuge(pages)


# -- five levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linux", "adv"])
def test_has_a_machine_with_five_levels_one_table_more(kind: str) -> None:
    found = []
    for levels in (4, 5):
        process = Process(kind, machine={"page_tables": {"levels": levels}})
        process.do(("mmap", 4, BASE), ("touch", BASE))
        tables = list(process.space.root.tables())
        found.append((process.space.root.level, len(tables)))
        if kind == "linux":
            assert process.space.stat.pgtables_bytes == 3 * 4096  # the table below the root is not counted
        process.do(("munmap", BASE, 4))
        process.end()
    assert found == [(4, 4), (5, 5)]


def test_rights_after_all() -> None:
    """mprotect and back leaves a huge page writable without a fault, as it was not shared."""
    files = thp()
    files.do(Mmap(LEAF, BASE))
    files.run(files.write(0))
    files.do(Mprotect(BASE, LEAF, READ), Mprotect(BASE, LEAF, READ_WRITE))
    entry = files.space.root.walk(BASE)
    assert entry is not None
    assert entry.writable
    assert entry.level == 2
    files.end()
