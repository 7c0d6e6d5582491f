"""The table of page allocators that any design can have."""

from __future__ import annotations

from sim.hardware import Machine
from sim.mm.allocators.listed_buddy import ListedBuddy
from sim.mm.allocators.lists import ListCas, ListLocal, ListLocked
from sim.mm.allocators.llfree import Llfree
from sim.mm.allocators.pooled import PooledAllocator
from sim.mm.allocators.spec import AllocatorName, HasAllocator


def make_allocator(machine: Machine, name: AllocatorName, spec: HasAllocator) -> PooledAllocator:
    """The allocator *name* with the costs of *spec*, which has them (`HasAllocator.check_allocator`)."""
    if name == "llfree":
        assert spec.llfree is not None
        return Llfree(machine, spec.llfree)
    if name == "buddy":
        assert spec.frame_buddy is not None
        return ListedBuddy(machine, spec.frame_buddy)
    assert spec.frame_list is not None
    kinds: dict[str, type[ListLocked] | type[ListCas] | type[ListLocal]] = {
        "list-locked": ListLocked,
        "list-cas": ListCas,
        "list-local": ListLocal,
    }
    return kinds[name](machine, spec.frame_list)
