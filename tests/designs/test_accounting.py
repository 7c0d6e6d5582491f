"""What do processes account for, and which shared lines does that take?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kernels import BASE, Process
from machines import small_machine

from sim.designs.linux.committed import committed_batch
from sim.designs.linux.percpu_counter import LOCK_COUNTER
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView, LineView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    Brk,
    CreateFile,
    Exit,
    Fork,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Munmap,
    Operation,
)


class Seen(Probe):
    """The locks that were taken and the lines that moved, by name."""

    def __init__(self) -> None:
        self.locks: list[str] = []
        self.lines: list[str] = []

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.locks.append(lock.name)

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        self.lines.append(line.name)


def linux(cpus: int = 1, changes: dict[str, Any] | None = None, seen: Probe | None = None) -> Process:
    return Process("linux", cpus=cpus, changes=changes, listeners=(seen,) if seen else ())


def performs(process: Process, operations: Sequence[Operation], cpu: int = 0) -> list[Any]:
    """Their values, where they are done one after the other."""

    def body(cpu: Cpu) -> Steps[None]:
        for operation in operations:
            value = yield from process.space.perform(cpu, operation)
            values.append(value)

    values: list[Any] = []
    process.run({cpu: body})
    return values


# -- vm_committed_as ---------------------------------------------------------------------------------------


def test_what_is_in_vm_committed_as() -> None:
    """Private memory that may be written; shared memory as a whole; never what asks for no reserve."""
    process = linux()
    committed = process.kernel.committed
    for operation, sum_after in (
        (Mmap(8, BASE), 8),
        (Mmap(8, BASE + 8, READ), 8),
        (Mmap(8, BASE + 16, reserve=False), 8),
        (MmapShared(8, BASE + 24), 16),
        (MmapShared(8, BASE + 32, reserve=False), 16),
        (Mprotect(BASE + 8, 4, READ_WRITE), 20),
        (Mprotect(BASE + 8, 4, READ), 20),  # as it has been: somebody may have written to it
        (Mprotect(BASE + 8, 4, READ_WRITE), 20),
        (Mprotect(BASE + 16, 4, READ), 20),
        (Mprotect(BASE + 16, 4, READ_WRITE), 20),
        (Brk(process.space.brk + 5), 25),
        (Brk(process.space.brk + 2), 22),
        (Mmap(4, BASE + 2), 22),
        (Munmap(BASE, 4), 18),
        (Munmap(BASE + 24, 4), 18),  # the rest of it is mapped still
        (Munmap(BASE + 28, 4), 10),
        (Mremap(BASE + 4, 4, 9, to=BASE + 64), 15),
        (Mremap(BASE + 64, 9, 12), 18),
        (Exit(), 0),
    ):
        performs(process, [operation])
        assert committed.sum() == sum_after, operation


def test_does_a_child_account_for_what_it_may_write() -> None:
    process = linux()
    performs(process, [Mmap(8, BASE), Mmap(4, BASE + 8, READ)])
    committed, seen = process.kernel.committed, []

    def forks(cpu: Cpu) -> Steps[None]:
        child = yield from process.space.perform(cpu, Fork())
        seen.append(committed.sum())
        yield from process.load(cpu, child)
        yield from child.perform(cpu, Exit())
        yield from process.load(cpu, process.space)
        seen.append(committed.sum())

    process.run({0: forks})
    assert seen == [16, 8]


def test_is_a_page_of_a_file_in_memory_accounted_for_when_it_is_made() -> None:
    process = linux()
    made: list[Any] = []

    def creates(cpu: Cpu) -> Steps[None]:
        made.append((yield from process.kernel.perform(cpu, CreateFile("file", 8))))
        made.append((yield from process.kernel.perform(cpu, CreateFile("full", 3, resident=True))))

    process.run({0: creates})
    performs(process, [MmapFile(made[0], 8, 0, True, BASE)])
    assert process.kernel.committed.sum() == 3
    process.do(("touch", BASE), ("touch", BASE + 5))
    assert process.kernel.committed.sum() == 5


def test_how_much_does_a_cpu_add_by_itself() -> None:
    """mm_compute_batch: a quarter of the cpu's part of all memory; never less than other counters."""
    machine = small_machine()
    cpus = machine.spec.cpus
    assert committed_batch(machine, 1 << 20, 4) == (1 << 20) // cpus // 4
    assert committed_batch(machine, 1 << 20, 256) == (1 << 20) // cpus // 256
    assert committed_batch(machine, 1 << 20, None) == committed_batch(machine, 100, 4) == max(32, 2 * cpus)


@pytest.mark.parametrize("share", [4, None])
def test_do_mappings_meet_at_the_counter_only_where_a_cpus_part_is_full(share: int | None) -> None:
    """40 pages are more than a small batch: the lock with each mmap and munmap, and its line travels."""
    seen = Seen()
    process = linux(2, {"limits": {"committed_share": share}}, seen)
    for _ in range(2):
        for cpu in (0, 1):
            performs(process, [Mmap(40, BASE), Munmap(BASE, 40)], cpu)
    taken, moved = seen.locks.count("vm_committed_as"), seen.lines.count("vm_committed_as")
    assert (taken, moved > 2) == ((8, True) if share is None else (0, False))
    assert process.kernel.committed.sum() == 0


# -- rss_stat ----------------------------------------------------------------------------------------------


def faults(process: Process, pages: int) -> None:
    process.do(("mmap", pages, BASE), *(("touch", BASE + page) for page in range(pages)))


def test_how_often_does_a_fault_take_the_lock_of_rss_stat() -> None:
    seen = Seen()
    faults(linux(seen=seen), 100)
    assert seen.locks.count("rss_stat[MM_ANONPAGES]") == 100 // 32


def test_until_6_1_every_65th_fault_of_a_task_adds_to_the_process() -> None:
    process = linux(changes={"switches": {"rss_stat": "split"}})
    shared = process.space.stat.rss
    seen = []
    for page in range(132):
        process.do(*([("mmap", 132, BASE)] if not page else []), ("touch", BASE + page))
        seen.append(shared.shared)
    # The counts of faults 0 to 64 are added when the 65th begins to be one too many.
    assert [page for page in range(1, 132) if seen[page] != seen[page - 1]] == [65, 131]
    assert process.space.stat.anon_pages == 132
    process.do(("munmap", BASE, 132))
    assert shared.shared == process.space.stat.anon_pages == 0


def test_is_a_zapped_table_counted_once() -> None:
    """add_mm_rss_vec: the 40 pages of one table are one addition."""
    seen = Seen()
    process = linux(seen=seen)
    faults(process, 40)
    seen.locks.clear()
    process.do(("munmap", BASE, 40))
    assert seen.locks.count("rss_stat[MM_ANONPAGES]") == 1


def test_does_an_addition_within_the_batch_cost_nothing() -> None:
    """It is a few instructions of the step that adds."""
    process = linux(2)
    counter = process.space.stat.rss._anon  # type: ignore[attr-defined]

    def timed(amount: int) -> Callable[[Cpu], Steps[None]]:
        def body(cpu: Cpu) -> Steps[None]:
            begun = cpu.now
            yield from counter.add(cpu, amount)
            took.append(cpu.now - begun)

        return body

    took: list[int] = []
    process.run({1: timed(31)})
    process.run({1: timed(1)})
    assert took[0] == 0 < took[1]
    assert counter.count == 32
    assert LOCK_COUNTER in process.machine.cpus[1].spent
