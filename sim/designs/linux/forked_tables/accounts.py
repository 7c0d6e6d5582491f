"""Who counts the pages of a table that several processes have, and how many owners they have.

                    one account                            counted pages
source              COW PTE as RFC v2, as it stands        COW PTE v5, mm/memory.c copy_cow_pte_range,
                    at rssys/on-demand-fork c903574        handle_cow_pte_fault, zap_pte_range
owners of a page    1, the table                           one for each process
counters            of one process, the account's          of each process
fork                takes the account if nobody has it     every entry: owners, rss, no write
copy of the table   every entry: owners, no write          every entry: as it is
leaving             no entry; the account's: their rss     every entry: its owner and rss go
the last one        takes the account: every entry         nothing
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from sim.designs.linux.copied_entries import copy_entries
from sim.designs.linux.fork_run import copy_run, copy_run_as_it_is, share_run
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PTES_PER_LINE, SLOTS, PageTablePage, Present, Sharing

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm


class Accounts(ABC):
    """All is done under the table's lock. What is done to an entry costs *each*."""

    __slots__ = ("_each",)

    flushes_always: ClassVar[bool]
    """Whether the 2 MiB are flushed where a table is not copied, too, and with each one that is left."""

    def __init__(self, each: int) -> None:
        self._each = each

    @abstractmethod
    def shared(self, mm: LinuxMm, child: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        """*mm* leaves *table* to *child*, too."""

    @abstractmethod
    def copied(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, copy: PageTablePage) -> Steps[None]:
        """*copy*, which is empty, becomes what *table* is, and *mm* has it instead."""

    @abstractmethod
    def kept(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        """*mm* has *table* to itself."""

    @abstractmethod
    def left(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, gather: Gather) -> Steps[None]:
        """*mm* has *table* no more, and others still do."""

    @abstractmethod
    def orphaned(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        """Nobody has *table* any more, and it has no lock."""


class OneAccount(Accounts):
    """The table is the owner of its pages."""

    __slots__ = ()

    flushes_always: ClassVar[bool] = False

    def shared(self, mm: LinuxMm, child: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        if table.sharing is None:
            table.sharing = Sharing(guarded=True, counted=False, account=mm)
        elif table.sharing.account is None:
            yield from self._take(mm, cpu, table, table.sharing)

    def copied(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, copy: PageTablePage) -> Steps[None]:
        yield from mm.stat.inc_nr_ptes(cpu)
        if copy_run(mm, mm, cpu, table, copy):
            anon, files = SLOTS, 0
        else:
            page = table.base
            anon, files = yield from copy_entries(mm, mm, cpu, table, copy, page, page + SLOTS, unseen=False)
        yield from mm.stat.add_rss_vec(cpu, anon=anon, files=files)
        assert table.sharing is not None
        if table.sharing.account is mm:
            yield from self._give_up(mm, cpu, table, table.sharing)

    def kept(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        assert table.sharing is not None
        if table.sharing.account is not mm:
            yield from self._take(mm, cpu, table, table.sharing)

    def left(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, gather: Gather) -> Steps[None]:
        assert table.sharing is not None
        if table.sharing.account is mm:
            yield from self._give_up(mm, cpu, table, table.sharing)

    def orphaned(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        frames: list[int | range] = []
        for piece in table.present_pieces():
            if isinstance(piece[1], range):
                frames.append(piece[1])
            elif isinstance(piece[1], Present) and not piece[1].special:
                frames.append(piece[1].frame)
        yield from mm.lru.release(cpu, frames)

    def _take(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, sharing: Sharing) -> Steps[None]:
        """The account is *mm*'s from now on (cow_pte_rss, mm_inc_nr_ptes)."""
        sharing.account = mm
        anon, files = yield from self._count(mm, cpu, table)
        yield from mm.stat.add_rss_vec(cpu, anon=anon, files=files)
        yield from mm.stat.count_tables(cpu, 1)

    def _give_up(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, sharing: Sharing) -> Steps[None]:
        """It was *mm*'s."""
        sharing.account = None
        anon, files = yield from self._count(mm, cpu, table)
        yield from mm.stat.add_rss_vec(cpu, anon=-anon, files=-files)
        yield from mm.stat.count_tables(cpu, -1)

    def _count(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[tuple[int, int]]:
        """cow_pte_rss: how many of its pages are anonymous, and how many of files."""
        slot = 0
        while (slot := table.written_alone(slot, SLOTS, cpu)) < SLOTS:
            if not table.line(slot).held_by(cpu):
                yield from table.line(slot).read(cpu, PAGE_TABLE)
            slot += PTES_PER_LINE - slot % PTES_PER_LINE
        cpu.work(SLOTS * self._each, PAGE_TABLE)
        anon = files = 0
        for piece in table.present_pieces():
            if isinstance(piece[1], range):
                anon += len(piece[1])
            elif isinstance(piece[1], Present) and not piece[1].special:
                cached = piece[1].frame in mm.kernel.descriptors.of_files
                anon, files = anon + (not cached), files + cached
        return anon, files


class CountedPages(Accounts):
    """Each process is an owner of each page."""

    __slots__ = ()

    flushes_always: ClassVar[bool] = True

    def shared(self, mm: LinuxMm, child: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        yield from child.stat.count_tables(cpu, 1)
        anon = files = 0
        if share_run(mm, cpu, table):
            anon = SLOTS
        else:
            anon, files = yield from self._share_entries(mm, cpu, table)
        if table.sharing is None:
            table.sharing = Sharing(guarded=True, counted=True)
        yield from child.stat.add_rss_vec(cpu, anon=anon, files=files)

    def _share_entries(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[tuple[int, int]]:
        """copy_present_pte of each entry, from the table into itself."""
        descriptors, anon, files = mm.kernel.descriptors, 0, 0
        for slot in range(SLOTS):
            entry = table.get(slot)
            if type(entry) is not Present:
                continue
            cpu.work(mm.cost.fork_page, PAGE_TABLE)
            if not entry.special:
                folio = mm.pages.in_use.head(entry.frame)
                yield from descriptors.write(cpu, folio, times=2)
                mm.pages.in_use.get(entry.frame)
                cached = entry.frame in descriptors.of_files
                anon, files = anon + (not cached), files + cached
            yield from table.line(slot).store(cpu, PAGE_TABLE)
            entry.copy_on_write, entry.accessed = True, False
        return anon, files

    def copied(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, copy: PageTablePage) -> Steps[None]:
        yield from mm.stat.count_tables(cpu, -1)
        yield from mm.stat.inc_nr_ptes(cpu)
        if copy_run_as_it_is(cpu, table, copy, self._each):
            return
        for slot in range(SLOTS):
            entry = table.get(slot)
            if type(entry) is not Present:
                continue
            cpu.work(self._each, PAGE_TABLE)
            if not table.line(slot).held_by(cpu):
                yield from table.line(slot).read(cpu, PAGE_TABLE)
            yield from copy.line(slot).store(cpu, PAGE_TABLE)
            copy.set(slot, entry.copied())

    def kept(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        return
        yield

    def left(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, gather: Gather) -> Steps[None]:
        anon = files = 0
        for slot in range(SLOTS):
            entry = table.get(slot)
            if type(entry) is not Present:
                continue
            cpu.work(mm.cost.zap_page, PAGE_TABLE)
            page = table.base + slot
            if entry.special:
                gather.changed(page)
                continue
            gather.cleared(page, entry.frame)
            cached = entry.frame in mm.kernel.descriptors.of_files
            if cached:
                yield from mm.kernel.descriptors.write(cpu, entry.frame)
            anon, files = anon + (not cached), files + cached
        yield from mm.stat.add_rss_vec(cpu, anon=-anon, files=-files)
        yield from mm.stat.count_tables(cpu, -1)

    def orphaned(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        return
        yield
