"""Entries of a level-1 table that are copied into another one (mm/memory.c copy_pte_range, 6.13): each page
gets an owner more, and is copied on a write from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap_in import copy_swapped
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


def copy_entries(
    mm: LinuxMm,
    child: LinuxMm,
    cpu: Cpu,
    source: PageTablePage,
    target: PageTablePage,
    page: int,
    stop: int,
    *,
    unseen: bool,
) -> Steps[tuple[int, int]]:
    """Those of the pages [*page*, *stop*), from a table of *mm* to one of *child*, both locked.

    *unseen*: no other cpu can walk *source*, so a store to a line that this cpu has is work like any other.
    Value: how many pages were anonymous, and how many of files.
    """
    work, hit, first = mm.cost.fork_page, mm.machine.fabric.hit, slot_of(page, 1)
    descriptors, in_use = mm.kernel.descriptors, mm.pages.in_use
    anon = files = 0
    batched, folio, follower = mm.switches.fork_batch, -1, -1
    for slot in range(first, first + stop - page):
        entry = source.get(slot)
        if type(entry) is SwapEntry:
            yield from copy_swapped(mm, child, cpu, source, target, slot, entry)
        if type(entry) is not Present:
            continue
        before, follows = folio, batched and entry.frame == follower and not entry.special
        folio, follower = in_use.head(entry.frame), entry.frame + 1
        follows = follows and folio == before  # folio_pte_batch
        cpu.work(mm.cost.fork_further if follows else work, PAGE_TABLE)
        if not entry.special:  # folio_get or folio_ref_add of all, folio_dup_anon_rmap_pte of each
            times = 1 if follows else 2
            if not descriptors.write_own(cpu, folio, times=times):
                yield from descriptors.write(cpu, folio, times=times)
            in_use.get(entry.frame)
            cached = entry.frame in descriptors.of_files
            anon, files = anon + (not cached), files + cached
        if not entry.copy_on_write:  # ptep_set_wrprotect
            line = source.line(slot)
            if unseen and line.exclusive_to(cpu):
                cpu.stall(hit, PAGE_TABLE)
            else:
                yield from line.store(cpu, PAGE_TABLE)
            entry.copy_on_write = True
        line = target.line(slot)
        if line.exclusive_to(cpu):
            cpu.stall(hit, PAGE_TABLE)
        else:
            yield from line.store(cpu, PAGE_TABLE)
        target.set(slot, Present(entry.frame, entry.rights, copy_on_write=True, dirty=entry.dirty))
    return anon, files
