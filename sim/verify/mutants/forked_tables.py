"""Linux whose forks leave tables to parent and child: who may write, who has which table, whose pages."""

from __future__ import annotations

from sim.designs.linux import fault, fork, mprotect, zap
from sim.designs.linux.forked_tables.accounts import CountedPages, OneAccount
from sim.designs.linux.forked_tables.shared import ForkedTables
from sim.designs.linux.gather import Gather
from sim.mm import Fork, Mmap, Munmap, Touch
from sim.verify.kernels import BASE, LEAF, TABLE_SHARERS
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Program

ON_DEMAND, OWNER, COUNTED = TABLE_SHARERS
FORKS = ("family", "forking")

MUTANTS = (
    Mutant(
        "shared-tables-without-flush",
        "a fork shares tables, and TLBs may still write what is in them",
        [Edit(fork.fork, "    yield from mm.tlb.flush(cpu, range(0), whole=True)  # flush_tlb_mm\n", "")],
        TABLE_SHARERS,
        scenarios=FORKS,
    ),
    Mutant(
        "shared-table-not-guarded",
        "the entries above a table that two processes have let writes through",
        [Edit(OneAccount.shared, "guarded=True", "guarded=False")],
        (OWNER, ON_DEMAND),
        scenarios=FORKS,
    ),
    Mutant(
        "shared-table-has-one-owner",
        "the owners of a shared table are not counted: the first that leaves frees it",
        [Edit(ForkedTables.share, "    self._in_use.get(table.frame)\n", "")],
        TABLE_SHARERS,
        scenarios=FORKS,
    ),
    Mutant(
        "shared-table-keeps-an-owner",
        "who has copied a table stays its owner, so that nobody frees it",
        [Edit(ForkedTables._replace, "        self._in_use.put(table.frame)\n", "")],
        TABLE_SHARERS,
        scenarios=FORKS,
    ),
    Mutant(
        "shared-table-taken-from-others",
        "a write takes a table for its own that another process still has",
        [Edit(ForkedTables._keep, "self._in_use.owners(table.frame) > 1", "False")],
        TABLE_SHARERS,
        scenarios=FORKS,
        resembles="CVE-2020-29374, one level up: the wrong side of a fork kept what both had",
    ),
    Mutant(
        "fault-fills-a-shared-table",
        "a fault sets its entry in the table that other processes have, too",
        [Edit(fault._handle_mm_fault, "    if mm.forked is not None:\n", "    if False:\n")],
        TABLE_SHARERS,
        scenarios=FORKS,
    ),
    Mutant(
        "mprotect-in-a-shared-table",
        "mprotect changes the rights of all processes that have the table",
        [Edit(mprotect._fixup, "        yield from mm.take_tables(cpu, start, end)\n", "        pass\n")],
        TABLE_SHARERS,
        scenarios=FORKS,
        resembles="'forgetting to break COW on a PTE table': D. Hildenbrand of COW PTE v4, linux-mm, 2023",
    ),
    Mutant(
        "munmap-clears-a-shared-table",
        "munmap clears entries in a table that others have, too",
        [
            Edit(zap.zap, "if table.sharing is not None and mm.forked is not None:", "if False:"),
            Edit(zap._zap_table, "table.sharing is not None or", ""),
        ],
        TABLE_SHARERS,
        scenarios=FORKS,
    ),
    Mutant(
        "shared-pages-have-one-owner",
        "a fork shares a table and does not count the child as an owner of its pages",
        [Edit(CountedPages._share_entries, "            mm.pages.in_use.get(entry.frame)\n", "")],
        (COUNTED,),
        scenarios=FORKS,
    ),
    Mutant(
        "account-goes-with-its-process",
        "who leaves a table keeps its pages in his counters",
        [Edit(OneAccount.left, "if table.sharing.account is mm:", "if False:")],
        (OWNER, ON_DEMAND),
        scenarios=FORKS,
    ),
    Mutant(
        "last-process-takes-no-account",
        "who has a table to himself again does not count its pages",
        [Edit(OneAccount.kept, "if table.sharing.account is not mm:", "if False:")],
        (OWNER, ON_DEMAND),
        scenarios=FORKS,
    ),
    Mutant(
        "table-left-without-flush",
        "a table that others have, too, is unlinked, and TLBs still show its pages",
        [
            Edit(
                Gather.left,
                "    self.changed(table.base)\n    self.changed(table.base + SLOTS - 1)\n",
                "",
            )
        ],
        (ON_DEMAND, OWNER),
        programs=[
            Program(
                ON_DEMAND,
                "family",
                [
                    [[Mmap(LEAF, BASE), Touch([BASE, BASE + 9]), Fork(), Touch([BASE + 9], write=False)], []],
                    [[Munmap(BASE, LEAF)], []],
                ],
            )
        ],
    ),
)
