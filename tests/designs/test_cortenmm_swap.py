"""Does CortenMM take pages away where memory is short, and bring back what was in them?"""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from kernels import BASE, LEAF, Process, entry_of, frames_in_use
from swapping import TINY, corten_swap

from sim.designs.cortenmm import cursor as cortenmm_cursor
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import (
    READ,
    READ_WRITE,
    Errno,
    Exit,
    Fork,
    Kind,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Munmap,
    OutOfMemory,
    Prepopulate,
    Present,
    Status,
    SwitchMm,
    Touch,
)

BOTH = pytest.mark.parametrize("kind", ["rw", "adv"])
PAGES = 2048
"""Of the tiny machine."""


class Heard(Probe):
    """Ranges that are locked and unlocked, flushes, pages written and read, in their order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.heard.append("lock")

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self.heard.append("unlock")

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.heard.append(f"flush {pages}")

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.heard.append("out")

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.heard.append("in")

    def since(self) -> list[str]:
        heard, self.heard = self.heard, []
        return heard


class Swapping(Files):
    """A process of a CortenMM with swap, on a machine with little memory."""

    def __init__(self, kind: str = "adv", *listeners: Probe, size: str = "32 MiB", cpus: int = 2) -> None:
        changes = {**corten_swap(size), "limits": {"frame_chunk": 64}}
        super().__init__(cpus, listeners, kind=kind, changes=changes, machine=TINY)

    def swapped(self) -> list[int]:
        """The pages from `BASE` on that are swapped out."""
        return [
            table.base + slot - BASE
            for table in self.space.root.tables()
            if table.level == 1
            for slot, entry in enumerate(table.entries)
            if isinstance(entry, Status) and entry.kind is Kind.SWAPPED
        ]

    def page_out(self, first: int = 0, pages: int = 8) -> list[Any]:
        return self.do(Madvise(BASE + first, pages, "pageout"))

    def reclaim(self) -> int:
        (freed,) = self.run(lambda cpu: self.kernel.swap.reclaim(cpu))
        return int(freed)


def written(kind: str = "adv", *listeners: Probe) -> Swapping:
    """Eight pages that have been written: page 0 with number 1, and so on."""
    files = Swapping(kind, *listeners)
    files.do(Mmap(8, BASE))
    files.run(*(files.write(page) for page in range(8)))
    return files


@BOTH
def test_do_pages_leave_in_one_transaction_and_are_written_and_read_outside(kind: str) -> None:
    heard = Heard()
    files = written(kind, heard)
    heard.since()
    before = frames_in_use(files.kernel.memory)
    assert files.page_out() == [None]
    # what is mapped and not locked | take them away | each is written when nobody can reach it
    assert heard.since() == ["lock", "unlock", "lock", "flush 8", "unlock", *8 * ["out"]]
    assert (files.swapped(), before - frames_in_use(files.kernel.memory)) == (list(range(8)), 8)
    assert files.run(files.read(3)) == [4]
    assert heard.since() == ["lock", "unlock", "in", "lock", "unlock"]
    assert files.swapped() == [0, 1, 2, 4, 5, 6, 7]
    assert not files.kernel.swap.frame_of  # of one owner: it is not in the cache
    files.run(files.write(3))
    assert heard.since() == []
    files.end()


@BOTH
def test_is_there_memory_for_more_than_there_is(kind: str) -> None:
    """Pages of threads on two cpus, more than the machine has: all are as they were written."""
    files, each = Swapping(kind), PAGES // 2 + 200
    files.do(Mmap(2 * each, BASE))

    def writes(first: int) -> Any:
        def body(cpu: Cpu) -> Steps[None]:
            for page in range(first, first + each):
                yield from files.space.access(cpu, BASE + page)
                files.contents.of[cpu.tlb.lookup(BASE + page).frame] = page + 1  # type: ignore[union-attr]

        return body

    files.process.run({0: writes(0), 1: writes(each)})
    assert files.swapped()
    some = range(0, 2 * each, 97)
    assert files.run(*map(files.read, some)) == [page + 1 for page in some]
    files.do(Munmap(BASE, 2 * each))
    files.end()
    assert not files.kernel.swap.slots.users


def test_is_memory_out_where_swap_is_full() -> None:
    files = Swapping(size="1 MiB", cpus=1)
    files.do(Mmap(2 * PAGES, BASE))
    with pytest.raises(OutOfMemory):
        files.do(Touch(range(BASE, BASE + 2 * PAGES)))


def test_does_a_page_that_was_used_stay_once() -> None:
    files = written()
    assert files.reclaim() == 8  # the hand comes by twice
    assert files.swapped() == list(range(8))
    files.run(*(files.read(page) for page in range(8)))
    entry_of(files.space.root, BASE + 5).accessed = False
    files.kernel.swap._spec = files.kernel.swap._spec.model_copy(update={"batch": 1})
    assert files.reclaim() == 1
    assert files.swapped() == [5]


@BOTH
def test_is_locked_memory_not_taken(kind: str) -> None:
    files = written(kind)
    files.do(Mlock(BASE + 2, 3))
    assert files.page_out() == [Errno.EINVAL]
    assert files.reclaim() == 5
    assert files.swapped() == [0, 1, 5, 6, 7]
    files.do(Mlock(BASE, 8))
    assert not files.swapped()


@BOTH
def test_is_a_page_found_in_all_spaces_that_a_fork_has_made(kind: str) -> None:
    heard = Heard()
    files = written(kind, heard)

    def forks(cpu: Cpu) -> Steps[Any]:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    (child,) = files.run(forks)
    files.run(files.write(7))  # the parent's own, so the child's has another frame
    heard.since()
    assert files.reclaim() == 9
    users = files.kernel.swap.slots.users
    assert sorted(users.values()) == [1, 1, *7 * [2]]
    assert heard.since().count("out") == 9
    assert files.run(files.read(2)) == [3]
    assert len(files.kernel.swap.slot_of) == 1  # the child has the slot still
    assert entry_of(files.space.root, BASE + 2).copy_on_write
    (stamp,) = files.run(files.write(2))

    def reads(cpu: Cpu) -> Steps[int]:
        yield from files.kernel.perform(cpu, SwitchMm(child))
        yield from child.access(cpu, BASE + 2, write=False)
        yield from child.access(cpu, BASE + 7, write=False)
        seen = [files.contents.of[cpu.tlb.lookup(BASE + page).frame] for page in (2, 7)]  # type: ignore[union-attr]
        assert seen == [3, 8]
        yield from child.perform(cpu, Exit())
        yield from files.kernel.perform(cpu, SwitchMm(files.space))
        return 0

    heard.since()
    files.run(reads)
    assert heard.since().count("in") == 1  # page 2 was in the cache
    assert not files.kernel.swap.slot_of
    assert files.run(files.read(2)) == [stamp]
    files.end()


@BOTH
@pytest.mark.parametrize("cached", [False, True])
def test_is_one_fault_enough_to_write_a_page_that_is_swapped_out_of_a_child_too(
    kind: str, cached: bool
) -> None:
    heard = Heard()
    files = written(kind, heard)

    def forks(cpu: Cpu) -> Steps[Any]:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    def reads(cpu: Cpu) -> Steps[int]:
        yield from files.kernel.perform(cpu, SwitchMm(child))
        yield from child.access(cpu, BASE + 2, write=False)
        seen = files.contents.of[cpu.tlb.lookup(BASE + 2).frame]  # type: ignore[union-attr]
        yield from files.kernel.perform(cpu, SwitchMm(files.space))
        return seen

    (child,) = files.run(forks)
    assert files.reclaim() == 8
    if cached:
        assert files.run(reads) == [3]
    heard.since()
    (stamp,) = files.run(files.write(2))
    assert heard.since().count("lock") == (1 if cached else 2)  # or once more, as it has to be read
    own = entry_of(files.space.root, BASE + 2)
    assert (own.writable, own.accessed, own.dirty) == (True, True, True)
    assert not files.kernel.swap.slot_of  # the child has the page alone, or the slot
    assert files.run(reads) == [3]
    assert files.run(files.read(2)) == [stamp]
    files.end()


@BOTH
def test_does_a_populated_page_stay_once_as_one_that_was_used(kind: str) -> None:
    files = Swapping(kind)
    files.do(Mmap(8, BASE, populate=True))
    entries = [entry_of(files.space.root, BASE + page) for page in range(8)]
    assert all(entry.accessed and entry.dirty for entry in entries)
    files.kernel.swap._spec = files.kernel.swap._spec.model_copy(update={"batch": 1})
    entries[5].accessed = False
    assert files.reclaim() == 1
    assert files.swapped() == [5]


@BOTH
def test_does_a_swapped_page_take_part_in_all_that_happens_to_its_mapping(kind: str) -> None:
    files = written(kind)
    files.page_out()
    assert files.do(Mincore(BASE, 8)) == [8 * [False]]
    files.do(Mprotect(BASE, 8, READ), Mremap(BASE, 8, 8, to=BASE + LEAF + 3))
    files.do(Mprotect(BASE + LEAF + 3, 8, READ_WRITE))
    assert len(files.swapped()) == 8
    assert files.run(files.read(LEAF + 3 + 1)) == [2]
    files.run(files.write(LEAF + 3 + 6))
    files.do(Madvise(BASE + LEAF + 3 + 2, 2), Munmap(BASE + LEAF + 3 + 4, 1))
    assert len(files.kernel.swap.slots.users) == 3
    assert files.run(files.read(LEAF + 3 + 2)) == [0]
    files.page_out(LEAF + 3, 4)  # the reverse map knows where pages have gone
    assert files.swapped() == [LEAF + 3 + page for page in (0, 1, 2, 5, 7)]
    files.end()


def test_is_memory_that_was_filled_in_bulk_taken_away() -> None:
    files = Swapping()
    files.do(Mmap(LEAF, BASE), Prepopulate(BASE, LEAF))
    assert files.reclaim() == 32
    assert len(files.swapped()) == 32
    assert isinstance(entry_of(files.space.root, BASE + LEAF - 1), Present)


def test_does_a_thread_that_takes_pages_away_hold_no_range_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two such threads could wait for each other."""
    files = Swapping(cpus=1)
    held = 0
    lock, unlock = files.space.protocol.lock, files.space.protocol.unlock

    def locks(cursor: cortenmm_cursor.Cursor) -> Steps[None]:
        nonlocal held
        yield from lock(cursor)
        held += 1

    def unlocks(cursor: cortenmm_cursor.Cursor) -> Steps[None]:
        nonlocal held
        held -= 1
        yield from unlock(cursor)

    reclaim, reclaims = files.kernel.swap.reclaim, []

    def checks(cpu: Cpu) -> Steps[int]:
        reclaims.append(held)
        return (yield from reclaim(cpu))

    protocol = type(files.space.protocol)
    monkeypatch.setattr(protocol, "lock", lambda self, cursor: locks(cursor))
    monkeypatch.setattr(protocol, "unlock", lambda self, cursor: unlocks(cursor))
    monkeypatch.setattr(type(files.kernel.swap), "reclaim", lambda self, cpu: checks(cpu))
    files.do(Mmap(PAGES + 200, BASE), Touch(range(BASE, BASE + PAGES + 200)))
    assert reclaims
    assert set(reclaims) == {0}


@pytest.mark.parametrize("changes", [{"source": "artifact"}, {"source": "rfc"}])
def test_does_only_the_papers_kernel_swap(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only the paper's CortenMM swaps"):
        Process("adv", changes={**corten_swap(), **changes})
