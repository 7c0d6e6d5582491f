"""What a Linux design file says of its slab caches: the objects, the rules for slabs, what the paths cost."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from sim.errors import RuleError
from sim.quantities import Cost, Size, Spec


class CacheSpec(Spec):
    """One cache (kmem_cache_create): what its objects are."""

    size: Annotated[Size, Field(gt=0)]
    """Bytes of an object."""
    align: Annotated[Size, Field(gt=0)]
    """What its address is a multiple of. With 64 B (SLAB_HWCACHE_ALIGN) or more no line has two objects."""
    head: Annotated[Size, Field(gt=0)]
    """Bytes from its beginning that those who only look the object up read."""
    free: Literal["at once", "rcu"]
    """When a freed object may be used again: `at once` (with or without SLAB_TYPESAFE_BY_RCU), or `rcu`, when
    a grace period is over."""
    accounted: bool = False
    """Its objects are charged to the memory cgroup of who allocates them (SLAB_ACCOUNT)."""
    sheaf: NonNegativeInt = 0
    """With `kind: sheaves`: objects in a sheaf. 0: the cache has no sheaves."""
    rcu_sheaf: bool = True
    """With sheaves and `free: rcu`: objects wait for a grace period in a sheaf, with one callback for all of
    them (kfree_rcu). Otherwise each has a callback of its own, which frees it (call_rcu)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.head > self.size:
            raise RuleError("the head is a part of the object", {"head": f"at most {self.size} B"})
        return self

    @property
    def stride(self) -> int:
        """Bytes from one object to the next."""
        return -(-self.size // self.align) * self.align


class Caches(Spec):
    """The caches of the objects that memory operations make."""

    vm_area_struct: CacheSpec
    """VMAs."""
    vma_lock: CacheSpec | None = None
    """Locks of VMAs, where they are objects of their own (6.4 to 6.14), or nodes of an interval skip list."""
    maple_node: CacheSpec
    """Nodes of the tree of VMAs."""
    anon_vma: CacheSpec
    """What links anonymous pages to VMAs."""
    anon_vma_chain: CacheSpec
    """One for each pair of a VMA and an anon_vma."""


class PartialLimit(Spec):
    """How many free objects a cpu may keep in partial slabs, by the size of the objects (set_cpu_partial)."""

    below: Annotated[Size, Field(gt=0)]
    """For objects smaller than this."""
    objects: NonNegativeInt
    """So many, in slabs that are taken to be half full."""


class SlabRules(Spec):
    """How large slabs are and how many are kept (mm/slub.c)."""

    max_order: NonNegativeInt
    """The largest block that a slab is where smaller ones do (slub_max_order)."""
    waste: PositiveInt
    """The first choice leaves at most one part in so many of a slab unused (calculate_order)."""
    min_partial: PositiveInt
    """Slabs that a node's list keeps at least before empty ones are given back (MIN_PARTIAL)."""
    max_partial: PositiveInt
    """The most for large objects (MAX_PARTIAL)."""
    cpu_partial: list[PartialLimit]
    """What a cpu's partial list may hold, smallest objects first. Empty: cpus have no partial lists (7.0)."""
    barn: NonNegativeInt = 0
    """Full sheaves that a node's barn holds, and empty ones (MAX_FULL_SHEAVES, MAX_EMPTY_SHEAVES)."""


class SlabCosts(Spec):
    """Cpu work of one step each. The costs of whole operations contain the fast path of their own object."""

    alloc: Cost
    """kmem_cache_alloc from the cpu's own freelist or sheaf, of a further object."""
    free: Cost
    """kmem_cache_free, the slab found and its object put on the cpu's own freelist or sheaf."""
    refill: Cost
    """___slab_alloc: take what has been freed to a slab, or the next slab; its cmpxchg16 comes on top."""
    remote: Cost
    """__slab_free: a free to a slab that is not the cpu's; its cmpxchg16 comes on top."""
    section: Cost
    """Fixed part of a section under a node's list_lock or a barn's lock."""
    move: Cost
    """Each slab or sheaf that is put on or taken off a list there."""
    new_slab: Cost
    """Fixed part of making a slab, without its pages."""
    new_object: Cost
    """Each object of it: set up and linked into the freelist."""
    discard: Cost
    """Give an empty slab back, without its pages."""


class SlabSpec(Spec):
    """Where the kernel's own objects come from."""

    kind: Literal["slub", "sheaves"]
    """`slub`: each cpu has a slab and a list of partial ones (until 6.17). `sheaves`: arrays of objects in
    front of that (6.18)."""
    caches: Caches
    """The objects."""
    rules: SlabRules
    """How large slabs are and how many are kept."""
    costs: SlabCosts
    """Cpu work of each step."""

    @model_validator(mode="after")
    def _sheaves_have_barns(self) -> Self:
        if (self.kind == "sheaves") != (self.rules.barn > 0):
            raise RuleError(
                "`kind: sheaves` and `rules.barn` go together",
                {"rules.barn": "1 or more" if self.kind == "sheaves" else "0", "kind": "the other one"},
            )
        return self
