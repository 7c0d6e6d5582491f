"""What the further protocols lock, and what they keep: one lock, entry by entry, versions."""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, EVERY_CORTENMM, GIB, LEAF, Process, design
from machines import NS
from pydantic import ValidationError

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.protocols import optimistic
from sim.designs.cortenmm.va_alloc import PerCoreAllocator
from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.mm import READ, READ_WRITE, Mmap, Mremap, Munmap, Rights

US = 1000 * NS
SLOW = {"costs": {"query": "1 us", "mark": "1 us"}}
"""Transactions long enough to meet."""


def locked(process: Process) -> list[list[tuple[int, int]]]:
    """Note what each transaction has locked: (level, first page relative to `BASE`) in order."""
    seen: list[list[tuple[int, int]]] = []
    lock = process.space.protocol.lock

    def noting(cursor: Cursor) -> Steps[None]:
        yield from lock(cursor)
        seen.append([(table.level, table.base - BASE) for table in cursor.locked])

    process.space.protocol.lock = noting
    return seen


def most_at_once(kind: str) -> int:
    """How many cpus are inside a transaction at the same time, which work 4 GiB apart."""
    process = Process(kind, cpus=4, changes=SLOW)
    for cpu in range(4):
        process.do(("mmap", LEAF, BASE + cpu * 4 * GIB), ("touch", BASE + cpu * 4 * GIB), cpu=cpu)
    most = 0
    query = Cursor.query

    def looks(cursor: Cursor, page: int) -> Steps[Any]:
        nonlocal most
        most = max(most, len(process.watch.held))
        return (yield from query(cursor, page))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cursor, "query", looks)
        process.run(
            dict.fromkeys(range(4), lambda cpu: process.space.access(cpu, BASE + cpu.id * 4 * GIB + 1))
        )
    return most


@pytest.mark.parametrize("kind", EVERY_CORTENMM)
def test_do_cpus_work_at_once_on_ranges_that_are_far_apart(kind: str) -> None:
    assert (most_at_once(kind) == 1) == (kind == "coarse")


def test_does_coarse_lock_the_root_and_nothing_else() -> None:
    process = Process("coarse")
    seen = locked(process)
    process.do(("mmap", 4 * LEAF, BASE - 2 * LEAF), ("touch", BASE), ("munmap", BASE - LEAF - 1, LEAF + 2))
    assert seen == [[(4, -BASE)]] * 3
    assert [table.lock is not None for table in process.space.root.tables()][:2] == [True, False]


# -- entry by entry --------------------------------------------------------------------------------------


def test_does_nontransactional_lock_a_leaf_for_each_page() -> None:
    process = Process("nontransactional")
    seen = locked(process)
    process.do(("mmap", 4, BASE + 1))
    assert seen == [[(1, 0)]] * 4
    del seen[:]
    process.do(("munmap", BASE + 1, 4), ("munmap", BASE + 1, 4))
    assert seen == [[(1, 0)]] * 4  # what is not there is passed over


def test_does_nontransactional_take_a_large_mark_in_one_piece() -> None:
    process = Process("nontransactional")
    process.do(("mmap", 1, BASE - GIB))
    seen = locked(process)
    process.do(("mmap", LEAF * LEAF, BASE))  # 1 GiB, aligned
    assert seen == [[(2, 0)]]
    del seen[:]
    process.do(("mprotect", BASE, LEAF, READ))  # what an entry of that table stands for
    assert seen == [[(1, 0)]]


def test_are_pages_paid_for_one_by_one() -> None:
    """A call on n pages costs nontransactional a walk, a lock and an unlock more for each further page."""

    def time(kind: str, pages: int) -> int:
        process = Process(kind, cpus=1)
        process.do(("mmap", 1, BASE), ("mmap", 64, BASE + 64))
        begin = process.cpus[0].now
        process.do(("mmap", pages, BASE + 1))
        return int(process.cpus[0].now - begin)

    batched, one_by_one = (time(kind, 33) - time(kind, 1) for kind in ("adv", "nontransactional"))
    assert one_by_one > 5 * batched


def pages_left(kind: str, delay: int) -> int:
    """How many of eight pages are mapped when one cpu has mapped them and another unmapped them."""
    process = Process(kind, changes={"costs": {"mark": "1 us"}})
    space = process.space
    process.do(("mmap", 9, BASE - 1), ("munmap", BASE, 1))

    def maps(cpu: Cpu) -> Steps[None]:
        cpu.work(8 * US, Activity("user"))
        yield from space.perform(cpu, Mmap(8, BASE, READ))

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))
        yield from space.perform(cpu, Munmap(BASE, 8))

    process.run({0: maps, 1: unmaps})
    process.end()
    return sum(space.status(page) is not None for page in range(BASE, BASE + 8))


@pytest.mark.parametrize("kind", EVERY_CORTENMM)
def test_does_one_of_two_operations_on_a_range_come_last(kind: str) -> None:
    """On all pages; with nontransactional on each of them, and the faster one may overtake the other."""
    left = {pages_left(kind, delay) for delay in range(0, 20 * US, US // 2)}
    assert {0, 8} <= left
    assert (left == {0, 8}) == (kind != "nontransactional")


def test_does_a_mapping_below_not_grow_into_one_that_is_just_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of an mmap is free when it is chosen, and no more when it is marked: it gets another one."""
    process = Process("nontransactional", cpus=2)
    space, allocate = process.space, PerCoreAllocator.allocate
    (at,) = process.do(("mmap", 4))

    def slow(va: PerCoreAllocator, cpu: Cpu, pages: int) -> Steps[int | None]:
        start = yield from allocate(va, cpu, pages)
        cpu.work(50 * US, Activity("user"))
        return start

    monkeypatch.setattr(PerCoreAllocator, "allocate", slow)
    found: dict[int, Any] = {}

    def maps(cpu: Cpu) -> Steps[None]:
        found[0] = yield from space.perform(cpu, Mmap(4, None, READ))

    def grows(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        found[1] = yield from space.perform(cpu, Mremap(at, 4, 8, may_move=False))

    process.run({0: maps, 1: grows})
    assert found == {0: at + 8, 1: at}
    assert [space.status(page) for page in range(at, at + 12)] == 8 * [READ_WRITE] + 4 * [READ]
    process.end()


def test_is_there_no_search_for_room_entry_by_entry() -> None:
    with pytest.raises(ValidationError, match="one transaction"):
        design("nontransactional", {"source": "rfc"})


# -- versions ------------------------------------------------------------------------------------------


def versions(process: Process) -> dict[tuple[int, int], int]:
    """(level, slot) -> the version, of tables with `BASE`."""
    return {
        (table.level, slot): version
        for table in process.space.root.tables()
        for slot, version in table.lock.versions.items()
    }


def test_is_each_change_of_an_entry_counted_and_over_at_its_end() -> None:
    process = Process("optimistic")
    process.do(("mmap", 2, BASE + 3))
    after_mmap = versions(process)
    assert after_mmap == {(4, 0): 2, (3, 4): 2, (2, 0): 2, (1, 3): 2, (1, 4): 2}
    process.do(("touch", BASE + 4), ("mprotect", BASE + 3, 1, READ))
    assert versions(process) == {**after_mmap, (1, 3): 4, (1, 4): 4}


def test_does_who_only_looks_lock_nothing() -> None:
    process = Process("optimistic")
    process.do(("mmap", 3, BASE), ("touch", BASE + 1))
    seen = locked(process)
    assert process.do(("mincore", BASE, 3), ("msync", BASE, 3)) == [[False, True, False], None]
    assert seen == []


def looked_at_during_an_mmap(delay: int) -> tuple[list[Any], int]:
    """What `look` finds in eight pages while all of them get other rights, and how often it took locks."""
    process = Process("optimistic", changes={"costs": {"query": "200 ns", "mark": "2 us"}})
    space = process.space
    process.do(("mmap", 8, BASE))
    seen = locked(process)
    found: list[Any] = []

    def looks(cpu: Cpu) -> Steps[None]:
        cpu.work(delay, Activity("user"))

        def body(cursor: Cursor) -> Steps[set[Rights]]:
            rights = set()
            for page in range(BASE, BASE + 8):
                entry: Any = yield from cursor.query(page)
                rights.add(entry.rights)
            return rights

        found.append((yield from space.protocol.look(cpu, BASE, BASE + 8, body)))

    def maps(cpu: Cpu) -> Steps[None]:
        cpu.work(6 * US, Activity("user"))
        yield from space.perform(cpu, Mmap(8, BASE, READ))

    process.run({0: maps, 1: looks})
    return found, len(seen) - 1


def test_does_a_reader_see_a_transaction_as_a_whole() -> None:
    locks = 0
    seen = set()
    for delay in range(0, 24 * US, US):
        (found,), taken = looked_at_during_an_mmap(delay)
        locks += taken
        assert len(found) == 1
        seen |= found
    assert seen == {READ, READ_WRITE}
    assert locks > 0  # some looked in vain until they took the locks


def test_is_a_reader_that_asks_no_version_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def valid(reader: Any) -> Steps[bool]:
        return True
        yield

    monkeypatch.setattr(optimistic.Reader, "is_valid", valid)
    with pytest.raises(AssertionError):
        test_does_a_reader_see_a_transaction_as_a_whole()


def late_fault(kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """A fault on a page that has been mapped meanwhile: how many frames it takes, and how many locks."""
    process = Process(kind)
    frames: Any = process.kernel.memory
    process.do(("mmap", 1, BASE), ("touch", BASE))
    seen, before, taken = locked(process), len(frames.in_use), list[int]()
    allocate = type(frames).allocate

    def allocates(self: Any, cpu: Cpu) -> Steps[int]:
        taken.append((yield from allocate(self, cpu)))
        return taken[-1]

    monkeypatch.setattr(type(frames), "allocate", allocates)
    process.run({0: lambda cpu: process.space.fault(cpu, BASE, True)})
    monkeypatch.undo()
    assert len(frames.in_use) == before
    return len(taken), len(seen)


def test_does_a_late_fault_take_neither_frame_nor_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert late_fault("adv", monkeypatch) == (1, 1)
    assert late_fault("optimistic", monkeypatch) == (0, 0)


# -- where the status is ---------------------------------------------------------------------------------


def arrays_of(process: Process) -> list[tuple[int, int]]:
    """(level, frames) of each table's array."""
    kernel: Any = process.kernel
    return [(array.table.level, len(array.frames)) for array in kernel.arrays]


def test_does_a_table_get_its_array_with_the_first_status() -> None:
    process = Process("arrays")
    process.do(("mmap", 4, BASE))
    assert arrays_of(process) == [(1, 1)]  # the tables above have no status in them
    process.do(("mmap", 2 * LEAF, BASE + GIB))
    assert arrays_of(process) == [(1, 1), (2, 1)]


def test_does_the_array_go_with_its_table() -> None:
    process = Process("arrays")
    kernel: Any = process.kernel
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE), ("munmap", BASE, 2 * LEAF))
    process.end()
    assert all(array.table.level > 1 for array in kernel.arrays)


def test_is_a_mark_a_store_to_the_array_and_a_page_one_to_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process("arrays", cpus=2)
    process.do(("mmap", 16, BASE), ("touch", BASE + 1), ("touch", BASE + 2))
    leaf = process.space.root.deepest(BASE)
    table, array = leaf.line(1), leaf.array.line(1)
    store, stored = CacheLine.store, list[str]()

    def stores(line: CacheLine, cpu: Cpu, activity: Activity) -> Steps[None]:
        stored.extend({table: ["table"], array: ["array"]}.get(line, []))
        return store(line, cpu, activity)

    monkeypatch.setattr(CacheLine, "store", stores)

    def lines_of(cpu: int, *operation: Any) -> list[str]:
        del stored[:]
        process.do(operation, cpu=cpu)
        return list(stored)

    assert lines_of(1, "munmap", BASE + 1, 1) == ["array", "table"]  # a page that was there
    assert lines_of(0, "mmap", 1, BASE + 1) == ["array"]
    assert lines_of(1, "touch", BASE + 1) == ["table"]
    assert lines_of(0, "mprotect", BASE + 1, 1, READ) == ["table"]
    assert lines_of(1, "munmap", BASE + 3, 1) == ["array"]
    assert lines_of(0, "mlock", BASE + 1, 1) == ["array"]  # what is kept beside a page
