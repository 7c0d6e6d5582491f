"""Is a kernel that forgets a step caught, by programs drawn at random?

Each mutant leaves one thing out or does it in the wrong order. It has to be caught soon, and the right kernel
is let through by the same programs (`test_oracle`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from kernels import BASE, LEAF
from swapping import corten_swap

from sim.designs.cortenmm import cursor as cortenmm_cursor
from sim.designs.cortenmm import fork as cortenmm_fork
from sim.designs.cortenmm import madvise as cortenmm_madvise
from sim.designs.cortenmm import mlock as cortenmm_mlock
from sim.designs.cortenmm import mremap as cortenmm_mremap
from sim.designs.cortenmm import truncate as cortenmm_truncate
from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.designs.cortenmm.swap import Swap
from sim.designs.cortenmm.va_alloc import FIRST_PAGE
from sim.designs.linux import (
    anon,
    fault,
    file_fault,
    fork,
    huge_fault,
    madvise,
    maps,
    modify,
    mprotect,
    munmap,
    truncate,
    userfault,
)
from sim.designs.linux import exit as linux_exit
from sim.designs.linux.gather import Gather
from sim.designs.linux.lru import Lru
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.space import LinuxSpace
from sim.designs.linux.swap import SwapEntry
from sim.designs.linux.vfs.open_files import OpenFiles
from sim.designs.linux.vma import VmFlags
from sim.designs.linux.vma_indexes.maple import MapleTree
from sim.designs.linux.vma_locks.rwsem import RwSemVmaLock
from sim.engine import Probe, Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    WRITE,
    Fork,
    LazyFlush,
    Madvise,
    Mlock,
    Mmap,
    MmapShared,
    Mprotect,
    Mremap,
    Munmap,
    Operation,
    Prepopulate,
    Present,
    PresentRun,
    SwapDevice,
    SwapSlots,
    SynchronousFlush,
    Touch,
    UffdCopy,
    UffdRegister,
    performer,
)
from sim.mm.page_table import PageTablePage
from sim.verify import Program, draw_program, failure
from sim.verify.process import Process
from sim.verify.programs import Mode, Onto

of, count, install = SwapEntry.of, SwapSlots.count, userfault._install

SOON = 1000
"""Programs within which a mutant is caught."""


def caught(*kinds: str, programs: int = SOON, huge: bool = False, saying: str = "", first: int = 0) -> str:
    """What the first program says that goes wrong, of those from seed *first* on that say this."""
    for seed in range(first, first + programs):
        error = failure(draw_program(Random(seed).choice, kinds, huge=huge))
        if error is not None and saying in str(error):
            return f"{type(error).__name__}: {error}"
    pytest.fail(f"{programs} programs have not caught the mutant")


def nothing(*_: Any, **__: Any) -> Steps[None]:
    return
    yield


# -- Linux: contents and rights -------------------------------------------------------------------------


def test_is_a_write_to_the_page_of_zeros_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Present, "writable", property(lambda entry: bool(entry.rights & WRITE)))
    assert caught("linux", saying="zero")


def test_is_a_page_that_nobody_has_zeroed_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinuxMm, "new_zeroed_page", lambda mm, cpu: mm.pages.allocate(cpu))
    assert "zeroed" in caught("linux")


def test_is_copy_on_write_that_forgets_to_copy_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes the old page writable, as if nobody else had it."""

    def reuses(mm: Any, cpu: Cpu, vma: Any, table: PageTablePage, page: int, old: Any, **_: Any) -> Any:
        table.set(page % LEAF, Present(old.frame, vma.rights))
        return True
        yield

    monkeypatch.setattr(anon, "_copy", reuses)
    assert caught("linux", saying="the page of zeros is written to")


def test_is_copy_on_write_without_a_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    copy, flush = anon._copy, SynchronousFlush.flush
    copying: list[Cpu] = []

    def copies(mm: Any, cpu: Cpu, *arguments: Any, **named: Any) -> Any:
        copying.append(cpu)
        done = yield from copy(mm, cpu, *arguments, **named)
        copying.remove(cpu)
        return done

    def flushes(self: Any, cpu: Cpu, *arguments: Any, **named: Any) -> Steps[None]:
        return nothing() if cpu in copying else flush(self, cpu, *arguments, **named)

    monkeypatch.setattr(anon, "_copy", copies)
    monkeypatch.setattr(SynchronousFlush, "flush", flushes)
    assert caught("linux")


def test_is_a_fault_that_asks_no_vma_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault, "_access_error", lambda *_: None)
    assert caught("linux")


def test_is_a_lost_dirty_bit_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Present,
        "with_rights",
        lambda entry, rights: Present(entry.frame, rights, copy_on_write=entry.copy_on_write),
    )
    assert "dirty bit" in caught("linux")
    assert "dirty bit" in caught("rw", "adv")


# -- Linux: in bulk --------------------------------------------------------------------------------------
# Whole tables are rare in short programs, so these are written down.

IN_BULK = [[Mmap(LEAF, BASE)], [Prepopulate(BASE, LEAF)], [Touch(range(BASE, BASE + 20))]]


def in_bulk(mode: Mode, *rounds: list[list[Operation]]) -> Program:
    return Program("linux", mode, [*([each, []] for each in IN_BULK), *rounds])


def test_is_clearing_in_bulk_without_a_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    program = in_bulk("shared", [[], [Munmap(BASE, LEAF - 1)]])  # the table stays
    assert failure(program) is None
    monkeypatch.setattr(Gather, "cleared_run", lambda gather, _, frames: gather.frames.append(frames))
    assert "is freed while cpu 0 translates to it" in str(failure(program))


def test_is_clearing_in_bulk_that_overlooks_a_changed_entry_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[list[list[Operation]]] = [[[Fork()], []], [[Touch(range(BASE, BASE + 3))], []]]
    program = in_bulk("family", *rounds, [[Munmap(BASE, LEAF)], []])
    assert failure(program) is None
    unlooked = property(lambda run: lambda start, stop: range(run.frame + start, run.frame + stop))
    monkeypatch.setattr(PresentRun, "frames", unlooked)
    assert failure(program) is not None


# -- Linux: ranges --------------------------------------------------------------------------------------


def test_is_an_mprotect_that_misses_a_leaf_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    change = mprotect._change_protection

    def misses(mm: Any, cpu: Cpu, start: int, end: int, *rest: Any) -> Steps[None]:
        return change(mm, cpu, start, min(end, start - start % LEAF + LEAF), *rest)

    monkeypatch.setattr(mprotect, "_change_protection", misses)
    assert caught("linux")


@pytest.mark.ci
def test_is_a_vector_of_advice_that_forgets_to_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has cleared stays in a gather that nobody ends."""
    end = madvise.Section.end

    def forgets(self: Any, cpu: Cpu) -> Steps[None]:
        if self._gather is not None:
            self._mm.gathers -= 1
            self._gather = None
        return end(self, cpu)

    monkeypatch.setattr(madvise.Section, "end", forgets)
    assert caught("linux")


def test_is_a_reader_of_maps_that_skips_a_vma_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill = maps._fill_under_mmap_lock

    def skips(mm: Any, cpu: Cpu, at: int, lines: list[Any]) -> Any:
        behind = mm.tree.peek(at) if at else None
        return (yield from fill(mm, cpu, behind.end if behind else at, lines))

    monkeypatch.setattr(maps, "_fill_under_mmap_lock", skips)
    assert caught("linux", saying="/proc/PID/maps")


def test_is_a_madvise_that_skips_the_last_page_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    dontneed = madvise._VISITS["dontneed"]
    monkeypatch.setitem(
        madvise._VISITS,
        "dontneed",
        lambda mm, cpu, vma, start, end, gather: dontneed(mm, cpu, vma, start, end - 1, gather),
    )
    assert caught("linux")


def test_is_a_table_that_goes_while_a_neighbour_is_in_it_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_wide(mm: Any, start: int, end: int) -> tuple[int, int]:
        return start - start % LEAF, end + -end % LEAF

    monkeypatch.setattr(munmap, "hole_around", too_wide)
    assert caught("linux")


def test_is_a_table_that_stays_behind_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(munmap, "free_pgtables", nothing)
    assert "table" in caught("linux")


# -- Linux: flushes and locks -----------------------------------------------------------------------------


@pytest.mark.parametrize("left", [slice(1, None), slice(-1)], ids=["the first page", "the last page"])
def test_is_a_flush_that_forgets_a_page_caught(monkeypatch: pytest.MonkeyPatch, left: slice) -> None:
    flush = SynchronousFlush.flush

    def forgets(self: Any, cpu: Cpu, pages: Any, **how: bool) -> Steps[None]:
        return flush(self, cpu, pages[left], **how)

    monkeypatch.setattr(SynchronousFlush, "flush", forgets)
    assert caught("linux")


def test_is_no_flush_at_all_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SynchronousFlush, "flush", nothing)
    assert caught("linux")


def test_is_a_gather_that_frees_before_the_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    release, flush = Lru.release, Gather.flush

    def frees_first(gather: Gather, cpu: Cpu) -> Steps[None]:
        frames, gather.frames = gather.frames, []
        if frames:
            yield from release(gather._mm.lru, cpu, frames)
        yield from flush(gather, cpu)

    monkeypatch.setattr(Gather, "flush", frees_first)
    assert "is freed while cpu" in caught("linux")


@pytest.mark.ci
def test_is_a_writer_that_locks_no_vma_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault beside it brings in a page with the rights of before, or behind the zap."""
    monkeypatch.setattr(RwSemVmaLock, "start_write", nothing)
    assert caught("linux", programs=4 * SOON)


# -- Linux: huge pages --------------------------------------------------------------------------------------


def test_is_a_split_that_mixes_up_the_frames_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Present, "frame_of", lambda entry, page: entry.frame)
    assert caught(huge=True)


@pytest.mark.ci
def test_is_a_huge_page_that_is_zapped_and_not_flushed_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is seen first: a translation of what is gone, or a right that is."""
    monkeypatch.setattr(Gather, "changed_huge", lambda gather, page: None)
    found = caught(huge=True)
    assert "translates" in found or "may still write" in found


@pytest.mark.ci
def test_is_a_write_to_a_huge_page_that_fork_has_shared_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes it writable, as if nobody else had it."""

    def reuses(mm: Any, cpu: Cpu, vma: Any, table: PageTablePage, page: int, entry: Present) -> Any:
        table.set(page // LEAF % LEAF, Present(entry.frame, vma.rights, level=2))
        return True
        yield

    monkeypatch.setattr(huge_fault, "_write_protected", reuses)
    assert caught(huge=True)


# -- Linux: files ------------------------------------------------------------------------------------------


@pytest.mark.ci
def test_is_a_private_write_to_the_file_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def shares(frame: int, rights: int, *, copy_on_write: bool, dirty: bool) -> Present:
        return Present(frame, rights, dirty=dirty)

    monkeypatch.setattr(file_fault, "Present", shares)
    assert caught("linux", first=410)


def test_is_a_copy_of_something_else_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The private page begins with zeros, not with what the file has."""

    def zeroes(mm: Any, cpu: Cpu, frame: int, source: int) -> Steps[None]:
        cpu.probe.frame_filled(cpu, frame, None)
        return
        yield

    monkeypatch.setattr(LinuxMm, "copy_into", zeroes)
    assert "version" in caught("linux")


@pytest.mark.ci
def test_is_a_truncate_that_leaves_pages_mapped_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truncate, "_unmap_behind", nothing)
    assert caught("linux", first=200)


def test_is_a_file_that_forgets_who_maps_it_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modify, "change_file_mappings", nothing)
    assert caught("linux")


def test_is_shared_memory_that_stays_after_its_last_mapping_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(munmap, "let_go", nothing)
    assert caught("linux")


# -- Linux: fork and exit ---------------------------------------------------------------------------------


@pytest.fixture
def unaided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariants of the kernel's state are not looked at: the model alone has to see it."""
    monkeypatch.setattr(Process, "verify", lambda process: None)


@pytest.mark.usefixtures("unaided")
def test_is_a_fork_that_lets_the_parent_write_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = fork._copy_table

    def unprotected(mm: Any, child: Any, cpu: Cpu, source: PageTablePage, *where: int) -> Steps[None]:
        yield from copy(mm, child, cpu, source, *where)
        for _, entry in source.present_entries():
            entry.copy_on_write = entry.special

    monkeypatch.setattr(fork, "_copy_table", unprotected)
    assert "version" in caught("linux")


@pytest.mark.usefixtures("unaided")
def test_is_a_fork_without_a_flush_of_the_parent_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    handler: Any = LinuxSpace.operations[Fork]
    flush = SynchronousFlush.flush
    forking: list[Cpu] = []

    def forks(mm: Any, cpu: Cpu, asked: Fork) -> Any:
        forking.append(cpu)
        child = yield from handler(mm, cpu, asked)
        forking.remove(cpu)
        return child

    def flushes(self: Any, cpu: Cpu, *arguments: Any, **named: Any) -> Steps[None]:
        return nothing() if cpu in forking else flush(self, cpu, *arguments, **named)

    monkeypatch.setattr(performer, "_OFFERED", {})
    monkeypatch.setattr(LinuxSpace, "operations", {**LinuxSpace.operations, Fork: forks})
    monkeypatch.setattr(SynchronousFlush, "flush", flushes)
    assert "may still write page" in caught("linux")


@pytest.mark.usefixtures("unaided")
def test_is_a_write_to_a_page_that_the_child_still_maps_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(mm: Any, cpu: Cpu, entry: Present) -> Steps[None]:
        entry.copy_on_write = False
        return
        yield

    monkeypatch.setattr(anon, "_alone", alone)
    assert "version" in caught("linux")


def test_is_a_fork_that_misses_the_last_page_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = fork._copy_table

    def misses(mm: Any, child: Any, cpu: Cpu, source: PageTablePage, page: int, stop: int) -> Steps[None]:
        return copy(mm, child, cpu, source, page, stop - 1)

    monkeypatch.setattr(fork, "_copy_table", misses)
    assert caught("linux")


def test_is_a_duplicated_tree_without_one_vma_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    replace = MapleTree.replace

    def misses(tree: MapleTree, cpu: Cpu, vma: Any) -> Steps[None]:
        return nothing() if len(list(tree)) == 1 else replace(tree, cpu, vma)

    monkeypatch.setattr(MapleTree, "replace", misses)
    assert caught("linux")


@pytest.mark.ci
def test_is_a_child_that_inherits_locked_memory_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "_NOT_INHERITED", VmFlags.UFFD_MISSING)
    assert caught("linux")


@pytest.mark.ci
def test_is_a_fork_that_lets_others_map_meanwhile_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    duplicate = fork._dup_mmap

    def unlocked(mm: Any, child: Any, cpu: Cpu) -> Steps[None]:
        yield from mm.write_unlock(cpu)
        yield from duplicate(mm, child, cpu)
        yield from mm.write_lock(cpu)

    monkeypatch.setattr(fork, "_dup_mmap", unlocked)
    assert caught("linux")


@pytest.mark.usefixtures("unaided")
def test_is_an_exit_that_leaves_a_page_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    zap = linux_exit.zap

    def leaves(mm: Any, cpu: Cpu, vma: Any, start: int, end: int, gather: Gather) -> Steps[None]:
        return zap(mm, cpu, vma, start, end - 1, gather)

    monkeypatch.setattr(linux_exit, "zap", leaves)
    assert "frames are in use" in caught("linux")


def test_is_an_exit_that_leaves_a_file_mapped_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_exit, "unlink_files", nothing)
    assert caught("linux")


def test_is_an_exec_that_keeps_the_old_memory_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "mmput", nothing)
    assert caught("linux")


def test_is_a_program_that_takes_its_parents_memory_along_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come of a vfork."""
    monkeypatch.setattr(fork, "mmput", linux_exit.exit_mmap)
    assert caught("linux")


# -- Linux: swap and userfaults ---------------------------------------------------------------------------


def test_is_a_page_that_is_mapped_before_it_is_read_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlocks(device: Any, cpu: Cpu, done: Any) -> Steps[None]:
        with_it, cpu.probe = cpu.probe, Probe()
        done()
        cpu.probe = with_it
        return
        yield

    monkeypatch.setattr(SwapDevice, "read", unlocks)
    assert "zeroed" in caught("linux")


@pytest.mark.ci
def test_is_a_swapped_page_that_a_child_has_to_itself_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes first writes for both."""
    monkeypatch.setattr(SwapEntry, "of", classmethod(lambda cls, slot, exclusive: of(slot, exclusive=True)))
    caught("linux")


@pytest.mark.ci
def test_is_a_slot_that_a_child_does_not_count_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(slots: SwapSlots, cpu: Cpu, slot: int, change: int) -> Steps[int]:
        value: int = yield from count(slots, cpu, slot, 0 if change > 0 and slots.users[slot] else change)
        return value

    monkeypatch.setattr(SwapSlots, "count", forgets)
    caught("linux")


def test_is_a_userfault_answered_without_the_bytes_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(mm: Any, cpu: Cpu, frame: int, source: int) -> Steps[None]:
        cpu.probe.frame_filled(cpu, frame, None)
        return
        yield

    monkeypatch.setattr(LinuxMm, "copy_into", forgets)
    answered = [UffdRegister(BASE + 1, 1), UffdCopy(BASE + 1, BASE), Touch([BASE + 1], write=False)]
    error = failure(Program("linux", "alone", [[[Mmap(2, BASE), Touch([BASE]), *answered]]]))
    assert "gives version 0, not" in str(error)


def test_is_a_message_of_a_page_that_is_there_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """UFFDIO_COPY over a page that somebody has: what was written is lost."""

    def overwrites(mm: Any, cpu: Cpu, vma: Any, page: int, frame: int) -> Steps[Any]:
        if (table := mm.leaf_table(page)) is not None:
            table.set(page % LEAF, None)
        return (yield from install(mm, cpu, vma, page, frame))

    monkeypatch.setattr(userfault, "_install", overwrites)
    twice = [Touch([BASE, BASE + 1]), UffdRegister(BASE + 1, 1), UffdCopy(BASE + 1, BASE)]
    error = failure(Program("linux", "alone", [[[Mmap(2, BASE), *twice]]]))
    assert "answers None, not EEXIST" in str(error)


# -- CortenMM ---------------------------------------------------------------------------------------------


def lazily(monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., Steps[None]]) -> None:
    monkeypatch.setattr(LazyFlush, "flush_lazily", mutant)


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_munmap_without_lazy_flush_caught(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def release_only(flush: LazyFlush, cpu: Cpu, removed: Any, release: Callable[[Cpu], None]) -> Steps[None]:
        release(cpu)
        return
        yield

    lazily(monkeypatch, release_only)
    assert "is freed while cpu" in caught(kind)


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_frame_that_is_freed_before_the_lazy_flush_caught(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    flush = LazyFlush.flush_lazily

    def releases_first(
        lazy: LazyFlush, cpu: Cpu, removed: Any, release: Callable[[Cpu], None]
    ) -> Steps[None]:
        release(cpu)
        yield from flush(lazy, cpu, removed, lambda _: None)

    lazily(monkeypatch, releases_first)
    assert "is freed while cpu" in caught(kind)


def test_is_a_record_that_is_released_too_early_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant frees when it publishes: its own TLB is clean, the others' are not."""
    flush = LazyFlush.flush_lazily

    def frees_when_published(lazy: LazyFlush, cpu: Cpu, removed: Any, release: Any) -> Steps[None]:
        yield from flush(lazy, cpu, removed, lambda _: None)
        release(cpu)

    lazily(monkeypatch, frees_when_published)
    assert caught("adv")


def test_is_an_mprotect_without_a_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyFlush, "flush", nothing)
    assert caught("rw", "adv")


def test_is_a_mark_that_skips_the_last_page_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = cortenmm_cursor.Cursor.mark

    def short(cursor: Any, status: Any, part: range | None = None) -> Any:
        where = range(cursor.start, cursor.end) if part is None else part
        return (yield from mark(cursor, status, where[:-1]))

    monkeypatch.setattr(cortenmm_cursor.Cursor, "mark", short)
    assert caught("rw", "adv")


# -- Linux: names and descriptors -----------------------------------------------------------------------


def test_is_a_descriptor_that_nobody_gives_back_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenFiles, "give_back", nothing)
    assert caught("linux", saying="answers")


# -- CortenMM: fork, files, what is given back ------------------------------------------------------------


@pytest.mark.usefixtures("unaided")
def test_is_a_last_owner_that_is_none_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(frames: FrameAllocator, cpu: Cpu, frame: int) -> Steps[int]:
        return 1
        yield

    monkeypatch.setattr(FrameAllocator, "look_at", alone)
    assert "version" in caught("adv")


def test_is_shared_memory_that_a_fork_copies_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = MmapShared(2, BASE), Touch([BASE]), Fork(), Touch([BASE]), Onto(1), Touch([BASE], write=False)
    program = Program("rw", "family", [[asked]])
    assert failure(program) is None
    monkeypatch.setattr(cortenmm_fork, "_is_shared", lambda table, slot: False)
    assert failure(program) is not None


def test_is_a_fork_without_flush_caught_in_cortenmm(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = LazyFlush.flush

    def forgets(lazy: LazyFlush, cpu: Cpu, pages: Any, *, whole: bool = False, **named: Any) -> Steps[None]:
        return nothing() if whole else flush(lazy, cpu, pages, **named)

    monkeypatch.setattr(LazyFlush, "flush", forgets)
    assert "write page" in caught("adv")


@pytest.mark.usefixtures("unaided")
def test_is_memory_that_is_given_back_without_flush_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    advise = cortenmm_madvise._advise

    def forgets(mm: Any, *asked: Any) -> Steps[Any]:
        with monkeypatch.context() as without:
            without.setattr(LazyFlush, "flush", nothing)
            return (yield from advise(mm, *asked))

    monkeypatch.setattr(cortenmm_madvise, "_advise", forgets)
    assert caught("adv", "rw")


def alone(*operations: Operation, **changes: Any) -> Program:
    """What one thread asks of adv; where random programs seldom come to it."""
    return Program("adv", "alone", [[operations]], changes=changes)


def test_is_a_move_without_a_flush_caught_in_cortenmm(monkeypatch: pytest.MonkeyPatch) -> None:
    take, flush = cortenmm_mremap._take, SynchronousFlush.flush
    moving: list[Cpu] = []

    def takes(mm: Any, cpu: Cpu, *arguments: Any) -> Any:
        moving.append(cpu)
        taken = yield from take(mm, cpu, *arguments)
        moving.remove(cpu)
        return taken

    def flushes(self: Any, cpu: Cpu, *arguments: Any, **named: Any) -> Steps[None]:
        return nothing() if cpu in moving else flush(self, cpu, *arguments, **named)

    monkeypatch.setattr(cortenmm_mremap, "_take", takes)
    monkeypatch.setattr(SynchronousFlush, "flush", flushes)
    assert caught("rw", "adv")


def test_is_a_move_that_asks_not_whether_all_is_one_mapping_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    program = alone(Mmap(4, BASE), Mprotect(BASE + 2, 2, READ), Mremap(BASE, 4, 4, to=BASE + LEAF))
    assert failure(program) is None
    monkeypatch.setattr(cortenmm_mremap, "_is_same", lambda *_: True)
    assert "answers" in str(failure(program))


def test_is_memory_that_is_locked_and_forgets_it_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    program = alone(Mmap(2, BASE), Touch([BASE]), Mlock(BASE, 2), Madvise(BASE, 2))
    assert failure(program) is None
    monkeypatch.setattr(cortenmm_mlock, "beside", lambda mark: None)
    assert failure(program) is not None


def test_is_a_truncation_that_leaves_pages_mapped_caught_in_cortenmm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cortenmm_truncate, "_unmap", nothing)
    assert caught("rw", "adv")


def test_is_room_that_is_one_page_too_small_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    program = alone(Mmap(2), Mmap(1, FIRST_PAGE + 3), Mmap(2), source="rfc")
    assert failure(program) is None
    monkeypatch.setattr(
        cortenmm_cursor._Search, "is_over", lambda self, page: page - self.start >= self.pages - 1
    )
    assert "is mapped" in str(failure(program))


def test_is_a_page_that_is_swapped_out_and_not_written_caught_in_cortenmm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Mmap(2, BASE), Touch([BASE]), Madvise(BASE, 2, "pageout"), Touch([BASE], write=False)
    program = alone(*asked, **corten_swap())
    assert failure(program) is None

    def forgets(swap: Swap, cpu: Cpu, frame: int, slot: int) -> Steps[None]:
        swap._true.add(slot)
        return
        yield

    monkeypatch.setattr(Swap, "_write_out", forgets)
    assert failure(program) is not None


def test_is_a_page_of_the_swap_cache_that_may_be_written_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has its slot."""
    bring_in = Swap.bring_in

    def maps(self: Any, cursor: Any, page: int, *arguments: Any, **named: Any) -> Any:
        used = yield from bring_in(self, cursor, page, *arguments, **named)
        entry = cursor.space.root.walk(page)
        if entry is not None:
            entry.copy_on_write = False
        return used

    monkeypatch.setattr(Swap, "bring_in", maps)
    assert caught("rw", "adv", first=320)


def test_is_a_slot_that_a_munmap_forgets_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Swap, "release", nothing)
    assert "swap slot" in caught("rw", "adv", saying="swap slot")
