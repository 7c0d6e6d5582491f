"""What a design file of Asterinas says: CortenMM's keys, as far as it has them, and its second level."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.designs.cortenmm import CortenSpec
from sim.quantities import Cost, Spec


class VmarCosts(Spec):
    """Cpu work of one step each at the second level, with its data in the cpu's own cache."""

    plain: ClassVar[frozenset[str]] = frozenset(
        {"node", "gap", "insert", "remove", "node_alloc", "mapping", "permissions"}
    )

    node: Cost
    """Search the keys of one node and go on to a child."""
    gap: Cost
    """A step to the neighbour of a mapping, and a look at the room between them."""
    insert: Cost
    """Put an entry into a node, or split or join nodes, beside their lines."""
    remove: Cost
    """Take one out."""
    node_alloc: Cost
    """A node from the slab, and back."""
    mapping: Cost
    """Make, cut or join a mapping: options, limits, counted references."""
    permissions: Cost
    """Check a fault against its mapping."""


class AsterinasSpec(CortenSpec):
    """One version of Asterinas. What CortenMM has beside the protocol and frames is not asked for: allocators
    of addresses, pools of tables, lazy flushes, BRAVO locks."""

    protocol: Literal["adv"] = "adv"
    """The protocol of cursors."""
    metadata: Literal["in-entry"] = "in-entry"
    """Entries have no status at all."""
    source: Literal["paper"] = "paper"
    """There is no other."""
    munmap_flush: Literal["synchronous"] = "synchronous"
    """By interrupts, inside the transaction and under the Vmar's lock."""
    mprotect_flush: Literal["synchronous"] = "synchronous"
    """As munmap's."""
    swap: None = None
    """None."""
    table_lock: Literal["word", "mcs"] = "word"
    """Lock of a page table: `word` as coded, a test-and-set of one byte; `mcs` as in CortenMM's artifact."""
    vmar: VmarCosts
    """Cpu work at the second level."""
