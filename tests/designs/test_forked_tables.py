"""Where a fork leaves tables to parent and child: who counts what, and what is copied and freed when?

That parent and child have the memory that they should have is what random programs find out (`oracle`).
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from kernels import BASE, LEAF, design
from pydantic import ValidationError
from test_fork import Family

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Errno,
    Exit,
    Fork,
    Madvise,
    Mmap,
    Mprotect,
    Munmap,
    OutOfMemory,
    PageTablePage,
    Prepopulate,
    ReadStatus,
)
from sim.quantities import PAGE_BYTES
from sim.verify import check, draw_program
from sim.verify.kernels import TABLE_SHARERS
from sim.verify.swapping import DEVICES, swap

ON_DEMAND, OWNER, COUNTED = TABLE_SHARERS
EVERY = pytest.mark.parametrize("kind", TABLE_SHARERS)


def family(kind: str, cpus: int = 3, pages: int = LEAF) -> Family:
    """A parent with so many pages that it has written, and one more mapping far away."""
    them = Family(cpus=cpus, spec=design(kind))
    them.do(0, Mmap(pages, BASE), Prepopulate(BASE, pages))
    return them


def leaf(space: Any) -> PageTablePage:
    table = space.leaf_table(BASE)
    assert table is not None
    found: PageTablePage = table
    return found


def sizes(them: Family, cpu: int) -> tuple[int, int]:
    """Resident pages and tables, as the process on *cpu* reads them of itself."""
    (told,) = them.do(cpu, ReadStatus())
    return told.resident // PAGE_BYTES, told.page_tables // PAGE_BYTES


@EVERY
def test_is_a_whole_table_shared_until_somebody_writes(kind: str) -> None:
    them = family(kind)
    child = them.fork(1)
    assert leaf(child) is leaf(them.parent)
    them.read(1, 7)
    assert leaf(child) is leaf(them.parent)
    them.write(1, 0)
    assert leaf(child) is not leaf(them.parent)
    them.files.kernel.verify({them.parent: [], child: []})


@pytest.mark.parametrize(
    ("kind", "mine", "childs"), [(ON_DEMAND, LEAF, 0), (OWNER, LEAF, 0), (COUNTED, LEAF, LEAF)]
)
def test_is_a_page_counted_by_one_process_or_by_each(kind: str, mine: int, childs: int) -> None:
    them = family(kind)
    them.fork(1)
    assert [sizes(them, cpu)[0] for cpu in (0, 1)] == [mine, childs]
    them.write(0, 0)  # it has a table of its own now, and the other is nobody's account
    assert [sizes(them, cpu)[0] for cpu in (0, 1)] == [mine, childs]
    them.write(1, 1)
    assert [sizes(them, cpu)[0] for cpu in (0, 1)] == [LEAF, LEAF]


@EVERY
def test_is_a_shared_table_one_table_of_the_kernel_s(kind: str) -> None:
    them = family(kind)
    before = them.kernel.footprint.now["page_table"]
    them.fork(1)
    upper = 3 * PAGE_BYTES  # the root, and two below it
    assert them.kernel.footprint.now["page_table"] == before + upper
    them.write(1, 0)
    assert them.kernel.footprint.now["page_table"] == before + upper + PAGE_BYTES
    them.do(1, Exit())
    assert them.kernel.footprint.now["page_table"] == before


@EVERY
def test_does_the_last_process_have_the_table_back_without_a_copy(kind: str) -> None:
    them = family(kind)
    table = leaf(them.parent)
    them.fork(1)
    them.do(1, Exit())
    assert table.sharing is not None
    them.write(0, 0)
    assert leaf(them.parent) is table
    assert table.sharing is None


@EVERY
@pytest.mark.parametrize("asked", [Munmap(BASE, LEAF), Madvise(BASE, LEAF)])
def test_does_a_table_that_goes_as_a_whole_go_without_a_copy(kind: str, asked: Any) -> None:
    """munmap of half of it, and mprotect of a page, need one."""
    them = family(kind)
    child = them.fork(1)
    table, tables = leaf(child), them.kernel.footprint.peak["page_table"]
    them.do(1, asked)
    assert child.leaf_table(BASE) is None
    assert leaf(them.parent) is table
    assert them.kernel.footprint.peak["page_table"] == tables
    for other, changes in ((1, Munmap(BASE, 9)), (2, Mprotect(BASE, 1, 1))):
        grandchild = them.fork(other)
        them.do(other, changes)
        assert leaf(grandchild) is not leaf(them.parent)


def test_is_a_table_of_several_mappings_shared_by_cow_pte_only() -> None:
    for kind in TABLE_SHARERS:
        them = Family(cpus=2, spec=design(kind))
        them.do(0, Mmap(9, BASE), Mprotect(BASE + 4, 1, 1))
        them.write(0, 0)
        child = them.fork(1)
        assert (leaf(child) is leaf(them.parent)) == (kind != ON_DEMAND)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        (COUNTED, {"vma_lock": "rwsem"}, "a table of several mappings is shared while faults"),
        (ON_DEMAND, {"vma_lock": "recheck"}, "a fault that holds nothing may be in a table"),
        (OWNER, {**swap(DEVICES["zram"])}, "reclaim and LATR know nothing of tables"),
    ],
)
def test_is_what_does_not_go_with_shared_tables_refused(kind: str, changes: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        design(kind, changes)


@EVERY
def test_do_programs_leave_what_the_model_predicts(kind: str) -> None:
    for seed in range(2):
        check(draw_program(Random(seed).choice, [kind], of_mode="family"))


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("mode", ["family", "forking", "processes", "alone", "apart", "shared"])
def test_do_hundreds_of_programs_leave_what_the_model_predicts(kind: str, mode: Any) -> None:
    for seed in range(100, 300):
        check(draw_program(Random(seed).choice, [kind], of_mode=mode))


@EVERY
def test_does_a_table_that_both_have_left_at_once_free_its_pages(kind: str) -> None:
    them = family(kind, pages=LEAF)
    them.fork(1)
    them.do(0, Fork())
    them.do(1, Munmap(BASE, LEAF))
    them.do(0, Munmap(BASE, LEAF))


@pytest.mark.ci
def test_is_a_munmap_that_cannot_copy_a_table_refused_and_nothing_done() -> None:
    """Two mappings are in the table, memory is full, and the child wants to unmap one of them."""
    them = Family(cpus=2, spec=design(OWNER), machine={"memory": {"size_per_socket": "8 MiB"}})
    pages, far = them.kernel.total_pages, BASE + 8 * LEAF
    them.do(0, Mmap(9, BASE), Mmap(9, BASE + 20), Mmap(pages, far))
    stamp = them.write(0, 1)

    def fills(cpu: Cpu) -> Steps[None]:
        for page in range(far, far + pages):
            yield from them.parent.access(cpu, page)

    with pytest.raises(OutOfMemory):
        them.process.run({0: fills})
    them.process.cpus[0].pending = 0
    them.do(0, Madvise(far, 2))  # for upper tables of the child
    child = them.fork(1)
    assert them.do(1, Munmap(BASE, 9)) == [Errno.ENOMEM]
    assert leaf(child) is leaf(them.parent)
    assert them.read(0, 1) == them.read(1, 1) == [stamp]
