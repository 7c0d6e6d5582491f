"""Bonsai: looks that are not taken again, versions of the tree that are not whole, and what goes too early.

Two of them need an order that chance seldom finds: `verify --mutants NAME --scenario exhaustive` catches
bonsai-believes-the-vma-of-the-table after 446 orders and bonsai-frees-tables-at-once after 246.
"""

from __future__ import annotations

from sim.designs.linux import anon, tables
from sim.designs.linux.gather import free_collected
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.vma_indexes.bonsai import BonsaiTree
from sim.verify.mutants.mutant import Edit, Mutant

ON = ("bonsai-2.6.37",)
RACES = ("shared", "short histories", "forking")

MUTANTS = (
    Mutant(
        "bonsai-does-not-look-again",
        "a fault sets its entry whatever has become of its VMA since it found that",
        [Edit(anon.look_again, "    if not still:\n", "    if False:\n")],
        designs=ON,
        scenarios=RACES,
    ),
    Mutant(
        "bonsai-believes-the-vma-of-the-table",
        "a fault whose VMA is what it was takes the table that it has found to be linked still",
        [Edit(LinuxMm.still, "    return self.table_at(page, table.level) is table\n", "    return True\n")],
        designs=ON,
        scenarios=("exhaustive/mmap-mmap",),
    ),
    Mutant(
        "bonsai-links-a-table-without-a-look",
        "a fault links a table for a VMA that has gone, where nobody frees it",
        [Edit(tables._make_table, "    there = looked_up is None or (", "    there = True or (")],
        designs=ON,
        scenarios=RACES,
    ),
    Mutant(
        "bonsai-anon-vma-for-a-vma-that-has-gone",
        "a fault gives an anon_vma to a VMA that munmap is done with",
        [Edit(anon._anon_vma_prepare, "    gone = vma.detached\n", "    gone = False\n")],
        designs=ON,
        scenarios=RACES,
    ),
    Mutant(
        "bonsai-copies-a-vma-without-an-anon-vma",
        "a fault gives a VMA an anon_vma that its copy, which gets the pages, does not have",
        [
            Edit(
                anon.prepare_to_copy,
                "    if mm.vma_locks.rechecks and ",
                "    if False and ",
            )
        ],
        designs=ON,
        scenarios=("exhaustive/mremap-fault",),
    ),
    Mutant(
        "bonsai-lets-faults-into-what-moves",
        "a fault finds nothing where an entry has just been, and sets one that mremap frees",
        [Edit(LinuxMm.still, " or vma.moving", "")],
        designs=ON,
        scenarios=("exhaustive/mremap-access", "exhaustive/mremap-fault"),
    ),
    Mutant(
        "bonsai-frees-nodes-at-once",
        "nodes of the old tree are free again when the root is stored, and readers are still in it",
        [
            Edit(
                BonsaiTree._swing,
                "yield from self._cache.release(cpu, node.memory)",
                "yield from self._cache.release(cpu, node.memory, now=True)",
            )
        ],
        designs=ON,
        scenarios=("apart", "shared"),
    ),
    Mutant(
        "bonsai-swings-before-it-writes",
        "the root is stored before the new nodes are written",
        [
            Edit(
                BonsaiTree.insert,
                "    yield from self._fill(cpu, update)\n",
                "    self._root = root\n    yield from self._fill(cpu, update)\n",
            )
        ],
        designs=ON,
        scenarios=RACES,
    ),
    Mutant(
        "bonsai-frees-tables-at-once",
        "a page table is free when munmap has flushed it, and a fault is still on its way through it",
        [Edit(free_collected, "        if mm.vma_locks.rechecks:\n", "        if False:\n")],
        designs=ON,
        scenarios=("exhaustive/munmap-fault",),
    ),
)
