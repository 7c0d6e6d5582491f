"""What design files say of a fork that leaves tables to parent and child."""

from __future__ import annotations

from typing import Literal, TypeAlias

from sim.quantities import Cost, Spec

SharedTables: TypeAlias = Literal["on-demand", "cow-pte-owner", "cow-pte"]


class SharedTableCosts(Spec):
    """Cpu work beside what locks, lines and flushes cost."""

    share: Cost
    """Leave one table to the child: what is checked before."""
    copy_entry: Cost
    """Copy an entry of a shared table, whose page has an owner for each process already."""
    count_entry: Cost
    """Look at an entry to see whose counter its page is in (cow_pte_rss)."""


class ForkSpec(Spec):
    """fork leaves level-1 tables to both, which nobody may write through; whoever writes copies one first."""

    tables: SharedTables
    """Which tables, and who counts their pages. `on-demand`: those that one anonymous mapping covers
    (EuroSys'21); `cow-pte-owner`: those of several private mappings, too (COW PTE as RFC v2); in both a table
    is the owner of its pages, and one process has them in its counters. `cow-pte` (v3 to v5): as that, but
    each page has an owner for each process, and each process counts it."""
    costs: SharedTableCosts
    """What that costs."""
