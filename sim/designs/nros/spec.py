"""What an NrOS design file says: replicas, log, caches of frames, shootdown and what the steps cost."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from sim.designs.base_spec import DesignSpec
from sim.errors import RuleError
from sim.quantities import Cost, Duration, Spec


class LogSpec(Spec):
    """The log of operations (node-replication, log.rs)."""

    entries: PositiveInt
    """Operations that it holds: a power of two."""
    reserve: PositiveInt
    """So many are kept free for combiners that have already decided to append (GC_FROM_HEAD)."""
    entry_lines: PositiveInt
    """Cache lines of an entry."""
    helps_after: PositiveInt
    """How often a combiner looks in vain for room before it replays the log for the slowest replica."""

    @model_validator(mode="after")
    def _holds_what_is_reserved(self) -> Self:
        if self.entries & (self.entries - 1):
            raise RuleError("the log wraps by a mask", {"entries": "a power of two"})
        if self.entries < 2 * self.reserve:
            raise RuleError("half of the log at least can be used", {"reserve": f"up to {self.entries // 2}"})
        return self


class CacheSpec(Spec):
    """The caches of frames (memory/mcache.rs): a stack of each size."""

    base_pages: PositiveInt
    """4 KiB frames that a core's cache holds."""
    large_pages: PositiveInt
    """2 MiB frames that it holds."""
    large_share: float
    """Share of a node's memory that is put aside in 2 MiB frames at boot."""
    refill: PositiveInt
    """4 KiB frames that a core's cache gets before each map operation of the log, so that it cannot fail."""
    refill_call: PositiveInt
    """The same before a system call that maps, beside those that it maps."""

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if not 0 < self.large_share < 1:
            raise RuleError("a node has frames of both sizes", {"large_share": "a number between 0 and 1"})
        return self


class TreeSpec(Spec):
    """The B-tree of mappings (Rust's BTreeMap)."""

    keys: PositiveInt = 11
    """Mappings of a full node: an odd number."""
    key_lines: PositiveInt
    """Cache lines of a node's keys."""
    value_lines: PositiveInt
    """Those of what stands beside each: frame, size, rights."""

    @model_validator(mode="after")
    def _can_be_halved(self) -> Self:
        if self.keys < 3 or self.keys % 2 == 0:
            raise RuleError(
                "a full node is cut into two halves and the key between", {"keys": "an odd number from 3"}
            )
        return self


class ShootdownSpec(Spec):
    """How other cores are told of what is gone (arch/x86_64/tlb.rs)."""

    cluster: PositiveInt
    """Cores that one write of the ICR reaches: those of a cluster of x2APIC."""
    cores: PositiveInt
    """Cores that a shootdown can name."""
    acknowledge: Literal["first", "last"]
    """A target acknowledges before it advances its replica and invalidates, or when both are done."""
    whole_above: PositiveInt
    """Up to so many pages are invalidated one by one, more by a new CR3."""


class NrosCosts(Spec):
    """Cpu work of one step each, with its data in the cpu's own cache; lines, locks and zeroing beside."""

    plain: ClassVar[frozenset[str]] = frozenset(
        {
            "call",
            "enqueue",
            "look_at_slot",
            "append",
            "replay",
            "tree_node",
            "tree_move",
            "node_alloc",
            "find_entry",
            "entry",
            "new_table",
            "cached_frame",
            "take_frame",
            "shootdown",
            "target",
            "item",
            "read_flag",
            "poll",
        }
    )

    syscall: Cost
    """What a system call takes beside the way into the kernel and out of it: dispatch, the process."""
    call: Cost
    """The rest of a map, unmap or adjust: its arguments, the vector of frames, the answer."""
    enqueue: Cost
    """Put an operation into the thread's slot, and take the answer out."""
    look_at_slot: Cost
    """A combiner looks at the slot of a thread."""
    append: Cost
    """Write one entry of the log."""
    replay: Cost
    """Take one entry out of the log and call what it asks for."""
    tree_node: Cost
    """Search one node of the B-tree."""
    tree_move: Cost
    """Move keys and values of a node, to insert or remove."""
    node_alloc: Cost
    """A new node, or back."""
    find_entry: Cost
    """Walk a page table down to an entry."""
    entry: Cost
    """Store or clear an entry."""
    new_table: Cost
    """A table out of the queue of what the leading replica has allocated for all."""
    cached_frame: Cost
    """Move a frame from one cache to another."""
    take_frame: Cost
    """Take a frame out of the core's cache, or put it back."""
    shootdown: Cost
    """What a shootdown takes beside its targets: the set of cores, the vector of items."""
    target: Cost
    """Find a target's APIC and its cluster, put an item into its queue."""
    item: Cost
    """Memory for what a target is told."""
    read_flag: Cost
    """A writer looks at the flag of a reader that holds no lock."""
    poll: Cost
    """One look at a word that others change, until the next."""


class NrosSpec(DesignSpec):
    """One NrOS."""

    replicas: Literal["per-node"] | PositiveInt
    """One for each node that the kernel sees, or so many, of cores side by side."""
    retry: Duration
    """After so long without an answer a thread tries to become the combiner itself, and again."""
    core_slot: PositiveInt = 1 << 27
    """Pages of address space from which each core's thread is given memory without an address."""
    log: LogSpec
    """The log of operations of each process."""
    caches: CacheSpec
    """Where frames come from."""
    tree: TreeSpec
    """The index of mappings in each replica."""
    shootdown: ShootdownSpec
    """How other cores are told of what is gone."""
    costs: NrosCosts
    """What the steps cost."""
