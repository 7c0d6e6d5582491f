"""nontransactional: a range is operated on entry by entry, each in a transaction of its own with adv's locks.

    adv               lock [a, d)   a  b  c   unlock
    nontransactional  lock a unlock   lock b unlock   lock c unlock

This is what kernels do that lock a table for each page, and what a transactional interface saves: the walk,
the lock and the unlock are paid for each entry. What one entry stands for (a page, or a larger aligned piece
where no table is below) is done as a whole, and nothing more is promised:

    kept      each page goes from one state to the next; an operation is over on all its pages when it returns
    lost      others see some pages of a range changed and others not; two operations on one range may leave
              pages of both; a fixed mmap that must replace nothing (MAP_FIXED_NOREPLACE) looks at all pages
              first and may still meet a mapping that came meanwhile, which it replaces

TLBs are flushed for each entry too: else a page could be reached by its old translation
when another call has already mapped it anew. A table that has become empty stays: no entry's transaction
knows it. A fault is about one page and stays as it is; fork and exit copy and unlink tables, not
pages, and have all of them at once, as in adv.

Source: creativitysurvey/cortenmm-nontxn-ablation, crates/lock-protocol-nontxn/src/nontxn_api.rs (lock, one
operation, unlock; the same with the locks of rw, adv and the coarse one).
"""

from __future__ import annotations

from typing import ClassVar

from sim.designs.cortenmm.protocols.adv import AdvProtocol


class NontransactionalProtocol(AdvProtocol):
    """adv's locks; ranges are divided by `entry_cursor.EntryCursor`."""

    entry_by_entry: ClassVar[bool] = True
