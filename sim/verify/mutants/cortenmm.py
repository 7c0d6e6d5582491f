"""CortenMM: cursors, protocols, transactions and what they free."""

from __future__ import annotations

from typing import Any

from sim.designs.cortenmm import cursor, fault, fork, marks, mprotect, mremap, truncate
from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.protocols import adv, optimistic, rw
from sim.designs.cortenmm.swap import Swap
from sim.designs.cortenmm.va_alloc import FIRST_PAGE, GlobalAllocator, PerCoreAllocator
from sim.mm import READ, Fork, Madvise, Mlock, Mmap, MmapShared, Mprotect, Mremap, Munmap, Touch
from sim.sync import Rcu
from sim.verify.kernels import BASE, LEAF
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Onto, Program, Reclaim
from sim.verify.swapping import corten_swap

BOTH = ("rw", "adv")
RACES = ("shared", "short histories", "apart", "forking")


def alone(*operations: Any, **changes: Any) -> Program:
    """What one thread asks of adv; where random programs seldom come to it."""
    return Program("adv", "alone", [[operations]], changes=changes)


def under_walkers(times: int = 1, **schedule: Any) -> Program:
    """So many times two tables are unlinked while others fault pages of theirs in; random ranges seldom have
    a whole table."""
    ranges = [Mmap(2 * LEAF, BASE), Touch(range(BASE, BASE + 20)), Munmap(BASE, 2 * LEAF)]
    reads = [Touch(range(BASE + 20, BASE + 40), write=False)]
    return Program("adv", "shared", [[ranges * times, reads * 4, reads, reads * 2]], **schedule)


MUTANTS = (
    # -- protocols ------------------------------------------------------------------------------------------
    Mutant(
        "adv-asks-not-for-strays",
        "a walker does not look whether the table that it has locked was unlinked meanwhile",
        [
            Edit(
                adv.AdvProtocol._walk_and_lock,
                "    if not held:\n        yield from self._acquire(cursor, table)\n        if table.stray:\n",
                "    if not held:\n        yield from self._acquire(cursor, table)\n        if False:\n",
            )
        ],
        ("adv",),
        scenarios=RACES,
        programs=[under_walkers(4, ties="shuffle", seed=3, delays=0.1)],
        resembles="the stray check of CortenMM_adv (SOSP'25, section 4.3)",
    ),
    Mutant(
        "adv-makes-a-child-of-a-stray",
        "a walker that makes a table does not look whether its parent was unlinked",
        [
            Edit(
                adv.AdvProtocol._walk_and_lock,
                "            yield from self._acquire(cursor, table)\n            if table.stray:\n"
                "                yield from self._drop(cursor, table)\n                return None\n",
                "            yield from self._acquire(cursor, table)\n",
            )
        ],
        ("adv",),
        scenarios=RACES,
    ),
    Mutant(
        "adv-links-over-another-child",
        "a walker does not look again whether somebody has made the table",
        [
            Edit(
                adv.AdvProtocol._walk_and_lock,
                "        if child is not None:  # lost the race",
                "        if False:  # lost the race",
            )
        ],
        ("adv",),
        scenarios=RACES,
    ),
    Mutant(
        "adv-locks-nothing-below",
        "a cursor over several tables locks the uppermost alone, which walkers go past",
        [Edit(adv.AdvProtocol.lock, "    yield from self._lock_below(cursor, covering)\n", "")],
        ("adv",),
        scenarios=RACES,
        resembles="I3 of CortenMM: all of a cursor's subtree is locked (2PL)",
    ),
    Mutant(
        "adv-locks-below-short-of-the-end",
        "the last table that the range touches is not locked: the cursor goes past the end of what it has",
        [
            Edit(
                adv.AdvProtocol._lock_below,
                "    last = min(cursor.end - 1, ",
                "    last = min(cursor.end - 2, ",
            )
        ],
        ("adv",),
        scenarios=RACES,
        resembles="Cursor::jump past the end of its range, which Verus found in Asterinas",
    ),
    Mutant(
        "adv-locks-against-the-order",
        "children are locked from the last to the first by every second cpu: two cursors wait for each other",
        [
            Edit(
                adv.AdvProtocol._lock_below,
                "    for slot in range(slot_of(first, table.level), slot_of(last, table.level) + 1):\n",
                "    for slot in range(slot_of(first, table.level), slot_of(last, table.level) + 1)"
                "[:: -1 if cursor.cpu.id % 2 else 1]:\n",
            ),
            Edit(
                adv.AdvProtocol.lock,
                "    yield from self._lock_below(cursor, covering)\n",
                "    if cursor.cpu.id % 2 and covering.level > 1:\n"
                "        yield from self._drop(cursor, covering)\n"
                "        yield from self._lock_below(cursor, covering)\n"
                "        yield from self._acquire(cursor, covering)\n"
                "    else:\n"
                "        yield from self._lock_below(cursor, covering)\n",
            ),
        ],
        ("adv",),
        scenarios=RACES,
        resembles="`try_upgrade` of Asterinas's RwMutex, which Verus found to deadlock: two holders wait for "
        "each other; this model has no upgradeable reader",
    ),
    Mutant(
        "adv-frees-tables-at-once",
        "unlinked tables are freed without a grace period, while others walk them",
        [
            Edit(
                adv.AdvProtocol.disown,
                "yield from space.kernel.rcu.defer(cpu, FreeTables(space, tables))",
                "cpu.work(FreeTables(space, tables)(cpu), PAGE_TABLE)",
            )
        ],
        ("adv",),
        scenarios=RACES,
        programs=[under_walkers()],
    ),
    Mutant(
        "adv-walks-outside-of-rcu",
        "a walker takes no part in RCU: the tables under it may be freed",
        [
            Edit(adv.AdvProtocol.lock, "    self._space.kernel.rcu.read_lock(cpu)\n", ""),
            Edit(adv.AdvProtocol.unlock, "    self._space.kernel.rcu.read_unlock(cursor.cpu)\n", ""),
        ],
        ("adv",),
        scenarios=RACES,
    ),
    Mutant(
        "rcu-ends-a-period-with-the-first",
        "a grace period ends when the first cpu has passed",
        [Edit(Rcu._pass, "    self._holding_up &= ~cpu.bit\n", "    self._holding_up = 0\n")],
        ("adv", "linux"),
        scenarios=RACES,
        programs=[under_walkers()],
    ),
    Mutant(
        "rw-covers-without-a-write-lock",
        "the covering page is locked for reading",
        [
            Edit(
                rw.RwProtocol.lock,
                "yield from covering.write_lock(cpu)",
                "yield from covering.read_lock(cpu)",
            ),
            Edit(
                rw.RwProtocol.unlock, "covering.write_unlock(cursor.cpu)", "covering.read_unlock(cursor.cpu)"
            ),
        ],
        ("rw",),
        scenarios=RACES,
    ),
    Mutant(
        "rw-lets-ancestors-go",
        "the locks of the tables above are not kept while the covering page is worked on",
        [
            Edit(
                rw.RwProtocol.lock,
                "        cursor.path.append(table)\n",
                "        yield from table.lock.read_unlock(cpu)\n",
            )
        ],
        ("rw",),
        scenarios=RACES,
    ),
    Mutant(
        "optimistic-reader-believes-what-it-sees",
        "a reader does not look again at the versions",
        [Edit(optimistic.OptimisticProtocol.look, "        if valid:", "        if True:")],
        ("optimistic",),
        scenarios=RACES,
    ),
    Mutant(
        "optimistic-reader-accepts-odd-versions",
        "a version under change is as good as another, if it has not changed again",
        [Edit(optimistic.Reader.is_valid, "version % 2 == 0 and ", "")],
        ("optimistic",),
        scenarios=RACES,
    ),
    # -- transactions ---------------------------------------------------------------------------------------
    Mutant(
        "unmap-flushes-after-the-unlock-only-here",
        "a transaction that unmaps flushes its own TLB and frees",
        [
            Edit(
                CortenMm.unlock_and_flush,
                "        yield from self.tlb.flush_lazily(cpu, gone, FreeAfterFlush(self, removed, cursor.unlinked))\n",
                "        cpu.tlb.invalidate(pages_of(gone))\n"
                "        self.free_removed(cpu, removed, cursor.unlinked)\n",
            )
        ],
        BOTH,
    ),
    Mutant(
        "mprotect-without-flush",
        "rights are taken away, and TLBs still have them",
        [
            Edit(
                mprotect._protect_and_flush,
                "        yield from space.tlb.flush(cursor.cpu, changed)\n",
                "        pass\n",
            )
        ],
        BOTH,
        resembles="mprotect of the CortenMM artifact, whose flush is issued and not dispatched",
        scenarios=("alone", "apart", "shared"),
    ),
    Mutant(
        "mark-skips-the-last-page",
        "a range is marked but for its last page",
        [
            Edit(
                Cursor.mark,
                "self.covering, where.start, where.stop, status, self.space.cost.mark, replaced",
                "self.covering, where.start, where.stop - 1, status, self.space.cost.mark, replaced",
            )
        ],
        BOTH,
    ),
    Mutant(
        "unmap-goes-past-the-end",
        "a transaction clears one page more than it has",
        [
            Edit(
                Cursor.clear,
                "        self.covering, where.start, where.stop, None, self.space.cost.unmap, removed\n",
                "        self.covering, where.start, where.stop + bool(self.covering.level == 1 and"
                " where.stop % 512), None, self.space.cost.unmap, removed\n",
            )
        ],
        BOTH,
        resembles="Cursor::jump past the end of its range, which Verus found in Asterinas",
    ),
    Mutant(
        "discard-without-flush",
        "memory is given back, and TLBs still have it",
        [Edit(CortenMm.end_discard, "    if present:\n", "    if False:\n")],
        BOTH,
    ),
    Mutant(
        "cow-without-flush-in-cortenmm",
        "a page is copied, and TLBs still have the old one",
        [Edit(fault._copy_on_write, "    yield from space.tlb.flush(cpu, [page])\n", "")],
        BOTH,
    ),
    Mutant(
        "cow-frees-before-the-flush",
        "the old page is given up before TLBs have been told",
        [
            Edit(
                fault._copy_on_write,
                "    yield from space.tlb.flush(cpu, [page])\n    if owners > 1:\n        frames.free(cpu, old)\n",
                "    if owners > 1:\n        frames.free(cpu, old)\n    yield from space.tlb.flush(cpu, [page])\n",
            )
        ],
        BOTH,
        scenarios=("family", "forking"),
        resembles="exmap (Leis et al., SIGMOD 2023), whose free pages reach the pool before the shootdown",
    ),
    Mutant(
        "last-owner-that-is-none",
        "a page that two processes have is said to have one owner",
        [Edit(FrameAllocator.look_at, "return self.in_use.owners(frame)", "return 1")],
        ("adv",),
    ),
    Mutant(
        "shared-memory-copied-by-fork",
        "a fork makes a private copy of shared memory",
        [Edit(fork._is_shared, "return was is not None and was.shared", "return False")],
        BOTH,
        programs=[
            Program(
                "rw",
                "family",
                [
                    [
                        (
                            MmapShared(2, BASE),
                            Touch([BASE]),
                            Fork(),
                            Touch([BASE]),
                            Onto(1),
                            Touch([BASE], write=False),
                        )
                    ]
                ],
            )
        ],
    ),
    Mutant(
        "fork-without-flush-in-cortenmm",
        "the parent's TLBs may still write what a fork has shared",
        [Edit(fork._fork, "    yield from mm.tlb.flush(cpu, range(0), whole=True)\n", "")],
        BOTH,
    ),
    Mutant(
        "move-without-flush-in-cortenmm",
        "pages are taken out of a range, and TLBs have them there",
        [Edit(mremap._take, "    if present:\n", "    if False:\n")],
        BOTH,
        scenarios=("alone", "apart", "processes"),
    ),
    Mutant(
        "move-asks-not-whether-all-is-one-mapping",
        "mremap moves what is not alike",
        [Edit(mremap._is_same, "return one == other", "return True")],
        ("adv",),
        programs=[alone(Mmap(4, BASE), Mprotect(BASE + 2, 2, READ), Mremap(BASE, 4, 4, to=BASE + LEAF))],
    ),
    Mutant(
        "locked-memory-forgets-it",
        "a page that is present forgets that it is locked",
        [Edit(marks.beside, "return None if plain else mark", "return None")],
        ("adv",),
        programs=[alone(Mmap(2, BASE), Touch([BASE]), Mlock(BASE, 2), Madvise(BASE, 2))],
    ),
    Mutant(
        "truncation-leaves-pages-mapped-in-cortenmm",
        "a file is cut off, and its pages stay mapped",
        [Edit(truncate._cut, "            yield from _unmap(space, cpu, part)\n", "            pass\n")],
        BOTH,
        resembles="the CortenMM artifact, which leaves pages behind the end where they are mapped",
        scenarios=("alone", "apart", "processes"),
    ),
    Mutant(
        "room-one-page-too-small",
        "the search for room ends one page too early",
        [Edit(cursor._Search.is_over, ">= self.pages", ">= self.pages - 1")],
        ("adv",),
        programs=[alone(Mmap(2), Mmap(1, FIRST_PAGE + 3), Mmap(2), source="rfc")],
    ),
    Mutant(
        "addresses-given-twice",
        "the pointer of a cpu's slice stays where it is when the range ends with it",
        [
            Edit(
                PerCoreAllocator.allocate,
                "self._next[index] = start + pages\n",
                "self._next[index] = start + pages - 1\n",
            )
        ],
        BOTH,
        scenarios=("alone", "apart"),
    ),
    Mutant(
        "global-allocator-without-its-lock",
        "two cpus read the end of the free range at a time",
        [
            Edit(
                GlobalAllocator.allocate,
                "    yield from self._lock.acquire(cpu)\n    cpu.work(self._alloc, VA_ALLOC)\n",
                "    cpu.work(self._alloc, VA_ALLOC)\n    before = self._next\n    yield cpu.take_pending()\n"
                "    self._next = before\n",
            ),
            Edit(GlobalAllocator.allocate, "    yield from self._lock.release(cpu)\n", ""),
        ],
        BOTH,
        scenarios=("apart",),
    ),
    # -- swap -----------------------------------------------------------------------------------------------
    Mutant(
        "swapped-out-and-not-written",
        "a page is taken away before its slot has it",
        [
            Edit(
                Swap._write_out,
                "    cpu.probe.page_out(cpu, frame, slot)\n    yield from self.device.write(cpu, lambda: 0)\n",
                "    yield from ()\n",
            )
        ],
        ("adv",),
        programs=[
            alone(
                Mmap(2, BASE),
                Touch([BASE]),
                Madvise(BASE, 2, "pageout"),
                Touch([BASE], write=False),
                **corten_swap(),
            )
        ],
    ),
    Mutant(
        "swap-cache-writable",
        "a page that another process has in the swap cache may be written",
        [Edit(Swap.bring_in, "copy_on_write=not alone", "copy_on_write=False")],
        ("rw", "adv", "cortenmm-adv-zram"),
        scenarios=("family", "forking"),
        programs=[
            Program(
                "adv",
                "family",
                [
                    [
                        (
                            Mmap(2, BASE),
                            Touch([BASE]),
                            Fork(),
                            Reclaim(),
                            Touch([BASE], write=False),
                            Touch([BASE]),
                            Onto(1),
                            Touch([BASE], write=False),
                        )
                    ]
                ],
                changes=corten_swap(),
            )
        ],
    ),
    Mutant(
        "munmap-forgets-swap-slots",
        "slots of what is unmapped stay in use",
        [Edit(Swap.release, "    for slot in slots:\n", "    for slot in ():\n")],
        ("rw", "adv", "cortenmm-adv-zram"),
        scenarios=("alone", "apart", "family"),
    ),
)
